"""Chords of a recording on its beats: drawn music with known chords, and what a model reads."""

import numpy as np
import pytest

from helpers.bands import RATE, band
from stage.beats.grid import BeatGrid
from stage.chords import Chart, read
from stage.chords.estimation import beats_over, estimate, of_logits

SONG = "| Am | F | C G | Em7 |"
GRID = BeatGrid.regular(100, 4, 9.6)


def agreement(found: Chart, true: Chart, seconds: float) -> float:
    moments = np.arange(0.05, seconds, 0.1)
    return float(np.mean([found.at(x).name == true.at(x).name for x in moments]))


def test_chords_are_found_on_their_beats():
    true = read(SONG, GRID, 9.6)
    found = estimate(band(true, 9.6), RATE, GRID)
    assert found.bars(GRID, 9.6) == "| Am | F | C . G . | Em7 |"
    assert [s.start for s in found] == [s.start for s in true]


@pytest.mark.parametrize("shift", [1, 5, 8])
def test_every_key_is_the_same(shift):
    true = read(SONG, GRID, 9.6).transpose(shift)
    assert agreement(estimate(band(true, 9.6, drums=False), RATE, GRID), true, 9.6) == 1


@pytest.mark.parametrize("cents", [-35, 40])
def test_a_song_off_440_has_its_chords(cents):
    true = read(SONG, GRID, 9.6)
    assert agreement(estimate(band(true, 9.6, cents=cents), RATE, GRID), true, 9.6) == 1


def test_without_beats():
    true = read(SONG, GRID, 9.6)
    for grid in (None, BeatGrid.empty()):
        found = estimate(band(true, 9.6), RATE, grid)
        assert agreement(found, true, 9.6) > 0.85 and found.spans[-1].end == 9.6


def test_silence_and_noise_have_no_chord():
    noise = np.random.default_rng(0).standard_normal((2, 6 * RATE)).astype(np.float32)
    for audio in (np.zeros(3 * RATE, np.float32), np.zeros((2, 100), np.float32), noise * 0.1):
        assert {span.chord.name for span in estimate(audio, RATE, BeatGrid.regular(120, 4, 6.0))} == {"N.C."}


def test_a_part_without_harmony_is_no_chord():
    true = read("| Am | N.C. | N.C. | F |", GRID, 9.6)
    assert estimate(band(true, 9.6), RATE, GRID).bars(GRID, 9.6) == "| Am | N.C. | N.C. | F |"


def test_beats_go_on_beyond_the_grid():
    edges, numbers, bar = beats_over(BeatGrid([1.0, 1.5, 2.0], [3, 1, 2]), 3.2)
    assert edges.tolist() == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.2])
    assert numbers.tolist() == [1, 2, 3, 1, 2, 3, 1] and bar == 3
    edges, numbers, bar = beats_over(BeatGrid([-0.7, -0.2, 0.3], [4, 1, 2]).crop(-1, 9).shift(-1), 0.6)
    assert edges.tolist() == pytest.approx([0, 0.3, 0.6]) and numbers.tolist() == [1, 2]
    edges, numbers, bar = beats_over(None, 1.2)
    assert edges.tolist() == pytest.approx([0, 0.6, 1.2]) and not numbers.any() and bar == 0


def test_what_a_model_reads_becomes_a_chart():
    true = read("| Am7 | F | Csus4 | N.C. |", GRID, 9.6)
    times = np.linspace(0, 9.6, 193)
    draw = np.random.default_rng(0)
    logits = draw.standard_normal((192, 25))
    for t, middle in enumerate((times[1:] + times[:-1]) / 2):
        chord = true.at(middle)
        logits[t, 12 if chord.root < 0 else chord.root] += 3
        logits[t, 13:] -= 2
        logits[t, [13 + x for x in chord.classes]] += 4
    assert of_logits(logits, times, GRID, 9.6) == true
    assert agreement(of_logits(logits, times, None, 9.6), true, 9.6) > 0.9
