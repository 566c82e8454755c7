"""Examples are cut as the paper cuts them, and number n is always the same."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.miniatures import band
from stage.data import open_songs
from stage.data.examples import CutOptions, Cutter
from stage.errors import StageError

PLAIN = CutOptions(
    seconds=4.0,
    crop=(2.0, 4.0),
    speed_probability=0.0,
    pitch_probability=0.0,
    context_dropout=0.0,
    text_dropout=0.0,
    word_dropout=0.0,
)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return open_songs(band(tmp_path_factory.mktemp("band")))


def test_number_n_is_the_same_whoever_asks(songs):
    options = replace(
        PLAIN, speed_probability=0.5, pitch_probability=0.5, context_dropout=0.2, text_dropout=0.5, word_dropout=0.3
    )
    once, again = Cutter(songs, options, 3), Cutter(songs, options, 3)
    for number in (5, 0, 17):
        one, other = once(number), again(number)
        assert (one.song, one.stem, one.kind, one.text) == (other.song, other.stem, other.kind, other.text)
        np.testing.assert_array_equal(one.target, other.target)
    assert len({once(n).target.tobytes() for n in range(8)}) == 8
    assert once(0).target.tobytes() != Cutter(songs, options, 4)(0).target.tobytes()


def test_shares_and_lengths_are_the_recipes(songs):
    cutter = Cutter(songs, replace(PLAIN, context_dropout=0.1, text_dropout=0.5, whole_context=0.2), 1)
    found = [cutter(number) for number in range(200)]
    share = {kind: sum(e.kind == kind for e in found) / 200 for kind in ("mix", "click", "none")}
    assert abs(share["none"] - 0.1) < 0.07 and abs(share["click"] - 0.45) < 0.1 and abs(share["mix"] - 0.45) < 0.1
    assert abs(sum(not e.text for e in found) / 200 - 0.5) < 0.1
    lengths = np.array([e.context.shape[1] / 32000 for e in found if e.context is not None])
    assert lengths.min() >= 2.0 and lengths.max() == 4.0 and abs((lengths == 4.0).mean() - 0.2) < 0.1
    assert all(e.target.shape == (1, 128000) and e.target.dtype == np.float32 for e in found)
    assert {e.text for e in found} == {"", "Genres: rock. Moods: calm."}


def test_a_click_falls_on_the_targets_beats_at_any_speed(songs):
    cutter = Cutter(songs, replace(PLAIN, click=1.0, whole_context=1.0, speed_probability=1.0), 2)
    for number in range(6):
        example = cutter(number)
        clicks = np.flatnonzero(np.diff(np.abs(example.context[0]) > 0.05, prepend=False))
        clicks = clicks[np.diff(clicks, prepend=-9999) > 4000] / 32000
        loud = np.abs(example.target[0])
        hits = np.array(
            [loud[max(0, round((t - 0.03) * 32000)) : round((t + 0.03) * 32000)].max() for t in clicks[:-1]]
        )
        assert example.kind == "click" and len(hits) > 3 and (hits > 0.5 * loud.max()).mean() > 0.8
        gap = np.median(np.diff(clicks))
        assert not any(abs(gap - 60 / bpm) < 1e-3 for bpm in (100, 110, 120, 130))  # the speed was changed


def test_without_click_pairs_and_without_vocals(songs, tmp_path):
    assert {Cutter(songs, replace(PLAIN, click_pairs=False), 1)(n).kind for n in range(20)} == {"mix"}
    silent = [replace(song, beats=None) for song in songs]
    assert {Cutter(silent, PLAIN, 1)(n).kind for n in range(20)} == {"mix"}
    song = replace(songs[0], stems={"drums": songs[0].stems["drums"], "vocals": songs[0].stems["keys"]})
    with pytest.raises(StageError, match="another stem"):
        Cutter([song], PLAIN, 0)
    assert Cutter([song], replace(PLAIN, leave_out=(), click=0.0), 0)(0).context.any()


def test_several_targets_and_the_silence_rule(songs):
    cutter = Cutter(songs, replace(PLAIN, stems=("drums", "bass")), 5)
    assert {cutter(n).stem for n in range(20)} == {"drums", "bass"}
    with pytest.raises(StageError, match="none did drums"):
        Cutter(songs, replace(PLAIN, silence=1.0), 0)(0)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(click=1.5),
        dict(stems=()),
        dict(seconds=0.0),
        dict(crop=(5.0, 11.0)),
        dict(crop=(3.0, 1.0)),
        dict(speed=(0.0, 1.0)),
        dict(pitch=(4, -4)),
        dict(silence=5.0),
        dict(tags=-1),
    ],
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(StageError, match=f"examples.{next(iter(wrong))}"):
        CutOptions(**wrong)


def test_clicks_alone_without_beats_are_refused(songs):
    with pytest.raises(StageError, match="stage prepare"):
        Cutter([replace(song, beats=None) for song in songs], replace(PLAIN, click=1.0), 0)
