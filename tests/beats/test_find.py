"""What a user may ask of the beats of a recording, and what is said about those that were found."""

import numpy as np
import pytest

from stage.beats import find as module
from stage.beats.find import NONE, UNCLEAR, Tracking, find, tempo_range
from stage.beats.grid import BeatGrid
from stage.beats.tracker import Tracked
from stage.errors import StageError

RATE = 1000
SONG = np.zeros((2, 10 * RATE), np.float32)


@pytest.fixture
def tracked(monkeypatch):
    """Lets a test say what is tracked; holds the arguments of the last call."""
    calls = {}

    def track(audio, rate, tempi, beats_per_bar):
        calls.update(tempi=tempi, beats_per_bar=beats_per_bar)
        return calls["result"]

    calls["result"] = Tracked(BeatGrid.regular(120, 4, 10), 0.8, np.zeros(20))
    monkeypatch.setattr(module, "track_with_confidence", track)
    monkeypatch.setattr(module, "choose", lambda name: calls.update(name=name) or ("stage", None))
    return calls


def test_what_is_clear_needs_no_word(tracked):
    found = find(SONG, RATE)
    assert found.grid.bpm == pytest.approx(120) and found.confidence == 0.8 and found.notes == ()
    assert tracked["tempi"] is tracked["beats_per_bar"] is None and tracked["name"] == "auto"


def test_doubtful_beats_are_noted(tracked):
    tracked["result"] = Tracked(BeatGrid.regular(120, 4, 10), 0.2, np.zeros(20))
    assert find(SONG, RATE).notes == (UNCLEAR,)
    tracked["result"] = Tracked(BeatGrid.empty(), 0.0, np.zeros(0))
    found = find(SONG, RATE)
    assert found.grid is None and found.notes == (NONE,)


@pytest.mark.parametrize("bar", [5, 7])
def test_an_unusual_metre_is_noted_unless_asked_for(tracked, bar):
    tracked["result"] = Tracked(BeatGrid.regular(120, bar, 10), 0.8, np.zeros(20))
    assert f"{bar} beats a bar" in find(SONG, RATE).notes[0]
    assert find(SONG, RATE, Tracking(meter=f"{bar}/4")).notes == ()
    assert tracked["beats_per_bar"] == bar


def test_half_double_and_the_range(tracked):
    assert find(SONG, RATE, Tracking(octave="half")).grid.bpm == pytest.approx(60)
    double = find(SONG, RATE, Tracking(octave="double")).grid
    assert double.bpm == pytest.approx(240) and double.times[-1] < 10
    find(SONG, RATE, Tracking(tempo_range=(60, 90)))
    assert tracked["tempi"] == (60, 90) and tracked["name"] == "stage"


def test_compound_metres_divide_the_beats(tracked):
    tracked["result"] = Tracked(BeatGrid.regular(60, 2, 10), 0.8, np.zeros(10))
    found = find(SONG, RATE, Tracking(meter="6/8"))
    assert found.grid.division == 3 and tracked["beats_per_bar"] == 2


def test_beat_this_is_taken_where_it_is_installed(tracked, monkeypatch):
    grid = BeatGrid.regular(90, 4, 10)
    monkeypatch.setattr(
        module, "choose", lambda name: ("stage", None) if name == "stage" else ("beat-this", lambda audio, rate: grid)
    )
    found = find(SONG, RATE)
    assert found.grid is grid and found.confidence is None and found.notes == ()
    assert find(SONG, RATE, Tracking(meter="4/4")).grid.bpm == pytest.approx(120)  # only ours takes a metre


@pytest.mark.parametrize("text", ["", "120", "60-", "a-b", "120-60", "60-60", "0-100", "60-900", "20-400", "nan-100"])
def test_ranges_that_cannot_be(text):
    with pytest.raises(StageError, match="tempi"):
        tempo_range(text)


def test_ranges_that_can():
    assert tempo_range("60-120") == (60, 120) and tempo_range(" 62.5 - 80 ") == (62.5, 80)


@pytest.mark.parametrize("asked", [dict(meter="5"), dict(meter="4/3"), dict(octave="third")])
def test_what_cannot_be_asked_for(asked):
    with pytest.raises(StageError):
        Tracking(**asked)
