"""The bars of tracked beats, by the chords of drawn music."""

import numpy as np
import pytest

from helpers.bands import RATE, band
from stage.beats.grid import BeatGrid
from stage.chords import read
from stage.chords.bars import counted

SECONDS = 14.4
TRUE = BeatGrid.regular(100, 4, SECONDS)
SONG = "| Am | F | C | G | Em7 | F |"


@pytest.mark.parametrize("beats", [0, 1, 2, 3])
def test_bars_begin_where_chords_change(beats):
    song = band(read(SONG, TRUE, SECONDS), SECONDS)
    found = counted(song, RATE, TRUE.shift_beats(beats), np.zeros(len(TRUE)))
    assert found.numbers.tolist() == TRUE.numbers.tolist() and found.times is TRUE.times


def test_what_the_tracker_is_sure_of_stays():
    song, late = band(read(SONG, TRUE, SECONDS), SECONDS), TRUE.shift_beats(1)
    sure = np.where(late.numbers == 1, 6.0, -2.0)
    assert counted(song, RATE, late, sure).numbers.tolist() == late.numbers.tolist()


def test_a_metre_is_chosen_among_those_that_are_compared():
    three = BeatGrid.regular(100, 3, SECONDS)
    song, four = band(read("| Am | F | C | G | Em7 | F | G | Am |", three, SECONDS), SECONDS), TRUE.shift_beats(2)
    assert counted(song, RATE, four, np.zeros(len(four)), (3, 4)).numbers.tolist() == three.numbers.tolist()
    assert counted(song, RATE, four, np.zeros(len(four))).beats_per_bar == 4


def test_without_chords_the_tracker_decides():
    late = TRUE.shift_beats(3)
    noise = np.random.default_rng(0).standard_normal((1, round(SECONDS * RATE))).astype(np.float32)
    for sound in (noise, 0 * noise, band(read("| Am | Am | Am | Am | Am | Am |", TRUE, SECONDS), SECONDS)):
        assert counted(sound, RATE, late, np.zeros(len(late)), (3, 4)).numbers.tolist() == late.numbers.tolist()
    first = np.where(np.arange(len(late)) % 4 == 1, 1.0, -1.0)
    assert counted(noise, RATE, late, first, (3, 4)).numbers.tolist() == TRUE.shift_beats(1).numbers.tolist()


def test_a_few_beats_stay_as_they_are():
    few = BeatGrid.regular(100, 4, 3.0)
    assert counted(np.zeros((1, 3 * RATE), np.float32), RATE, few, np.zeros(len(few)), (3, 4)) is few
