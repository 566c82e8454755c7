"""The shipped instruments, and loading by name."""

import numpy as np
import pytest

from stage import instruments
from stage.audio.level import loudness
from stage.errors import StageError
from stage.instruments.sampler import Sampler
from stage.models.playable import GROUPS
from stage.notes import Note

RATE = 22050
NAMES = instruments.names()


def test_there_is_every_kind():
    counts = {kind: sum(name.startswith(f"{kind}/") for name in NAMES) for kind in instruments.KINDS}
    assert counts == {"kits": 8, "bass": 8, "keys": 6, "guitar": 7, "pads": 6}
    assert [name for name in NAMES if name.split("/")[1] == instruments.DEFAULTS[name.split("/")[0]]] == [
        f"{kind}/{instruments.DEFAULTS[kind]}" for kind in instruments.KINDS
    ]
    size = sum(path.stat().st_size for path in instruments.LIBRARY.rglob("*"))
    assert size < 16e6


@pytest.mark.parametrize("name", NAMES)
def test_each_is_read_whole_and_sounds(name):
    instrument = instruments.load(name)
    assert instrument.unknown == ()
    kind = name.split("/")[0]
    notes = {
        "kits": [Note(i / 4, i / 4, (36, 42, 38, 46)[i % 4], 100) for i in range(8)],
        "bass": [Note(i / 2, i / 2 + 0.45, 28 + 3 * i, 100) for i in range(4)],
    }.get(kind, [Note(i / 1.0, i + 0.9, key, 100) for i in range(2) for key in (52, 60, 64, 67)])
    sampler = Sampler(instrument, RATE, varied=0)
    out = sampler.render(notes, 2.0)
    assert np.isfinite(out).all() and -27 < loudness(out, RATE) < -13
    keys = set(sampler.keys())
    assert keys >= {"kits": {36, 38, 42, 44, 46, 22, 26, 58}, "bass": set(range(28, 68))}.get(kind, set(range(40, 85)))


def test_every_piece_of_a_kit_is_sounding():
    sampler = Sampler(instruments.load("studio"), RATE)
    for key in (key for pieces in GROUPS.values() for _, key in pieces):
        assert np.abs(sampler.render([Note(0, 0, key, 90)], 0.3)).max() > 0.01, key


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("kits/")])
def test_a_closed_hat_ends_the_open_one(name):
    sampler = Sampler(instruments.load(name), RATE, varied=0)
    ringing, choked = (sampler.render([Note(0, 0, 46, 110), *closed], 1.0) for closed in ((), (Note(0.1, 0.1, 42, 1),)))
    assert np.abs(choked[:, RATE // 5 :]).max() < 0.2 * np.abs(ringing[:, RATE // 5 :]).max() + 1e-4


def test_kits_are_wide_and_basses_in_the_middle():
    hits = [Note(i / 4, i / 4, key, 100) for i, key in enumerate((50, 41, 49, 51))]
    left, right = Sampler(instruments.load("studio"), RATE).render(hits, 1.5)
    assert np.abs(left - right).std() > 0.1 * (left + right).std()
    left, right = Sampler(instruments.load("finger"), RATE).render([Note(0, 1, 33, 100)], 1.0)
    np.testing.assert_allclose(left, right, atol=1e-4)


@pytest.mark.parametrize(
    "name, message",
    [
        ("kits/none", 'no instrument "kits/none": choose one of kits/studio'),
        ("muted", "bass/muted or guitar/muted"),
        ("jazz", None),
        ("none.sfz", "cannot read none.sfz"),
        ("none.sf2", "cannot read none.sf2"),
        ("none.sf3", "convert it to SF2"),
    ],
)
def test_names(name, message):
    if message is None:
        assert instruments.load(name, drums=True).folder.name == "kits"
        assert instruments.load(name).folder.name == "guitar"
        return
    with pytest.raises(StageError, match=message):
        instruments.load(name)


def test_every_program_has_an_instrument():
    assert {instruments.for_program(program, drums) for program in range(128) for drums in (False, True)} <= set(NAMES)
    assert instruments.for_program(33) == "bass/finger" and instruments.for_program(32, drums=True) == "kits/jazz"
