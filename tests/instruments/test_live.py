"""A piece that is played part by part is the piece."""

import numpy as np
import pytest
import soundfile

from stage import instruments
from stage.instruments import sfz
from stage.instruments.live import Live
from stage.instruments.sampler import Sampler
from stage.notes import Note

SECONDS = 3.0
KEYS = {"kits": (36, 38, 42, 46, 44, 49, 51, 26, 54, 41), "bass": range(28, 60)}


def part(name: str, draws: np.random.Generator, count: int = 40) -> list[Note]:
    """Notes at random, some from before the first second, some at one moment."""
    keys = list(KEYS.get(name.split("/")[0], range(40, 88)))
    starts = np.sort(np.round(draws.uniform(-0.1, SECONDS, count), 1 if count % 2 else 4))
    lengths = draws.exponential(0.5, count)
    return [
        Note(float(t), float(t + n), int(draws.choice(keys)), int(draws.integers(5, 128)))
        for t, n in zip(starts, lengths)
    ]


def played_in_parts(sampler: Sampler, notes: list[Note], draws: np.random.Generator, again: bool) -> np.ndarray:
    """All parts of a piece together. Held notes have a false end until the true one is known. again: all known notes
    are given each time, not only the new ones."""
    live, now, parts, given = Live(sampler, seed=5, cents=-20.0), 0.0, [], set()
    while now < SECONDS - 1:
        now += float(draws.choice([0.002, 0.011, 0.1, 0.6]) * draws.uniform(0.5, 1.5))
        known = [
            (i, n._replace(end=now + float(draws.choice([1e-9, 0.2]))) if n.end >= now else n)
            for i, n in enumerate(notes)
            if n.start < now + 0.05  # some that begin later than the part's end
        ]
        new = [note for i, note in known if again or i not in given]
        given |= {i for i, note in known if note.end < now}
        parts.append(live.push(new, now))
        assert sum(p.shape[1] for p in parts) == round(now * sampler.rate)
    live.add(notes if again else [n for i, n in enumerate(notes) if i not in given])
    return np.concatenate([*parts, live.finish(SECONDS)], axis=1)


@pytest.mark.parametrize(
    "name, rate, again",
    [
        ("kits/studio", 44100, False),
        ("kits/jazz", 48000, True),
        ("kits/808", 32000, False),
        ("bass/synth", 44100, True),  # a cutoff that moves
        ("bass/finger", 48000, False),
        ("keys/organ", 44100, False),
        ("guitar/muted", 44100, True),
        ("pads/warm-pad", 22050, False),
    ],
)
def test_all_parts_are_the_piece(name, rate, again):
    draws = np.random.default_rng(len(name) + rate)
    notes, instrument = part(name, draws), instruments.load(name)
    whole = Sampler(instrument, rate, room=0.3).render(notes, SECONDS, 5, -20.0)
    got = played_in_parts(Sampler(instrument, rate, room=0.3), notes, draws, again)
    assert got.shape == whole.shape and np.abs(whole).max() > 0.1
    np.testing.assert_allclose(got, whole, atol=1e-5)


@pytest.fixture
def instrument(tmp_path) -> sfz.Instrument:
    """Everything at once: round robin, choke groups, random choice, loops within a sample, envelopes, a moving filter,
    a delay, a release that is long."""
    draws = np.random.default_rng(0)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", draws.normal(0, 0.2, (30000, 2)), 44100)
    text = (
        "<group> lokey=36 hikey=50 group=1 off_by=1 seq_length=2 ampeg_delay=0.01\n"
        "<region> sample=a.wav seq_position=1 off_mode=normal ampeg_release=0.3\n"
        "<region> sample=b.wav seq_position=2 loop_mode=one_shot\n"
        "<group> lokey=51 hikey=64 loop_mode=loop_continuous loop_start=5000 loop_end=9000 ampeg_attack=0.2"
        " ampeg_hold=0.1 ampeg_decay=0.8 ampeg_sustain=30 ampeg_release=0.7\n"
        "<region> sample=a.wav hirand=0.5 cutoff=2000 resonance=6\n<region> sample=b.wav lorand=0.5\n"
        "<group> lokey=65 hikey=90 cutoff=400 fileg_depth=4000 fileg_attack=0.1 fileg_decay=0.5 fileg_sustain=20"
        " fileg_release=0.2 ampeg_release=0.2\n<region> sample=a.wav loop_mode=loop_continuous\n"
        "<region> sample=b.wav ampeg_decay=0.4 ampeg_sustain=0\n"
    )
    (tmp_path / "all.sfz").write_text(text, encoding="utf-8")
    return sfz.read(tmp_path / "all.sfz")


@pytest.mark.parametrize("seed", range(6))
def test_all_parts_are_the_piece_whatever_the_instrument_does(instrument, seed):
    draws = np.random.default_rng(seed)
    notes = [n._replace(pitch=int(draws.integers(36, 91))) for n in part("keys/any", draws, 60 + seed)]
    whole = Sampler(instrument, 44100, room=0.5).render(notes, SECONDS, 5, -20.0)
    got = played_in_parts(Sampler(instrument, 44100, room=0.5), notes, draws, bool(seed % 2))
    np.testing.assert_allclose(got, whole, atol=1e-5)


def test_a_part_costs_no_more_for_what_lies_behind(instrument, monkeypatch):
    """A note that is held: what is computed of it, and what is resampled, is each sample once."""
    from stage.instruments import envelopes, samples

    levels, resampled = [], []
    level, take = envelopes.level, samples.Sound._take

    def counted(region, rate, first, end, held):
        levels.append(end - first)
        return level(region, rate, first, end, held)

    def taken(self, count):
        resampled.append(count)
        take(self, count)

    monkeypatch.setattr(envelopes, "level", counted)
    monkeypatch.setattr(samples.Sound, "_take", taken)
    sampler = Sampler(instrument, 48000, varied=0)
    live, count = Live(sampler), 200
    for i in range(count):
        live.push([Note(0.0, 0.1 * (i + 1) + 0.01, 60, 100)], 0.1 * (i + 1))
    assert sum(levels) == 20 * 48000
    assert sum(resampled) < 1.1 * 20 * 44100


def test_a_late_note_is_refused(instrument):
    live = Live(Sampler(instrument, 44100))
    live.push([], 0.5)
    with pytest.raises(ValueError, match=r"at 0\.400 s comes after 0\.500 s"):
        live.push([Note(0.4, 1.0, 60, 100)], 1.0)
    assert live.push([Note(0.5, 1.0, 60, 100)], 0.4).shape == (2, 0)
    assert live.push([], 0.6).shape == (2, 4410) and live.finish(0.7).shape == (2, 4410)


def test_some_keys_alone_are_what_they_were_among_all(instrument):
    draws = np.random.default_rng(3)
    notes = [n._replace(pitch=int(draws.integers(36, 91))) for n in part("keys/any", draws, 50)]
    sampler = Sampler(instrument, 44100, room=0.2)
    whole = sampler.render(notes, SECONDS, 1)
    groups = (range(36, 45), range(45, 60), range(60, 91))
    alone = [sampler.render(notes, SECONDS, 1, only=keys) for keys in groups]
    assert all(np.abs(one).max() > 0.01 for one in alone)
    np.testing.assert_allclose(sum(alone), whole, atol=1e-5)
