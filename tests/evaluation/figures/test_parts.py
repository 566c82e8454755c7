"""Figures of parts with values reckoned by hand; effects of options are in tests/generation/test_touch.py."""

import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.evaluation.figures.parts import (
    effect,
    fill_strokes,
    looseness,
    mean_velocity,
    onsets_per_second,
    pairs,
    swung,
)
from stage.generation.performance import Performance
from stage.generation.touch import bar_starts
from stage.models.events import TimeLine
from stage.notes import Note

GRID = BeatGrid.regular(120, 4, 8.0)
LINE = TimeLine.musical(GRID, 8.0, 1)


def hits(*starts: float, pitch: int = 42, velocity: int = 80) -> list[Note]:
    return [Note(start, start, pitch, velocity) for start in starts]


def test_onsets_and_velocity():
    notes = sorted(hits(0, 0.5, 1.0) + hits(0.02, 1.04, pitch=36, velocity=110))
    assert onsets_per_second(notes, 2.0) == 1.5 and onsets_per_second([], 2.0) == 0
    assert mean_velocity(notes) == 92 and np.isnan(mean_velocity([]))


def test_strays_from_the_grid():
    assert looseness(hits(0.01, 0.49, 1.0), LINE) == pytest.approx(20 / 3)
    assert looseness(hits(1 / 6, 1 / 3, 0.5), LINE) == pytest.approx(0)  # thirds of a beat
    stroke = hits(0.98, 1.0, 1.02)
    assert looseness(stroke, LINE) == pytest.approx(40 / 3) and looseness(stroke, LINE, strums=True) == pytest.approx(0)


def test_what_lies_on_the_grid_cannot_be_tightened():
    tight = Performance(tight=1.0)
    assert effect("tight", hits(0.51, 1.01), hits(0.5, 1.0), GRID, "drums", tight) == pytest.approx(10)
    assert np.isnan(effect("tight", hits(0.5, 1.0), hits(0.5, 1.0), GRID, "drums", tight))
    # where the recording begins 20 ms after a beat, that beat's strokes are moved to its beginning
    late = GRID.shift(-0.02)
    assert effect("tight", hits(0.0, 0.49, 0.99), hits(0.0, 0.48, 0.98), late, "drums", tight) == pytest.approx(10)


def test_swing_is_how_much_later_off_beats_come():
    before = hits(0, 0.25, 0.5, 0.75)
    after = hits(0, 0.29, 0.5, 0.8)
    assert swung(before, after, LINE) == pytest.approx(0.09)  # of a beat of half a second
    assert np.isnan(swung(hits(0, 0.5), hits(0, 0.5), LINE))


def test_pairs_are_by_pitch_and_order_or_the_nearest():
    before = sorted(hits(0, 0.1, 1) + hits(0.5, pitch=36))
    assert pairs(before, sorted(hits(0.2, 0.3, 1.1) + hits(0.4, pitch=36))) == [
        (0.5, 0.4),
        (0, 0.2),
        (0.1, 0.3),
        (1, 1.1),
    ]
    assert pairs(before, hits(0.15, 1.05)) == [(0, 0.15), (0.1, 0.15), (1, 1.05)]


def test_fills_are_strokes_in_the_second_half_of_their_bars():
    notes = sorted(hits(3.0, 3.25, 3.5, 3.75, pitch=45) + hits(1.5, 3.5, 5.5, 7.5, pitch=38) + hits(3.0))
    bars = bar_starts(LINE, LINE)
    assert fill_strokes(notes, LINE, bars, 2) == pytest.approx((5.0 + 0.5) / (1 + 0.5))  # bars 1 to 3 are whole
    assert np.isnan(fill_strokes(notes, LINE, bars, 1))


def test_bars_with_fills_are_counted_from_the_first_downbeat():
    """The beats before it are no bar, though the line goes back to second 0."""
    grid = BeatGrid(0.25 + 0.5 * np.arange(20), 1 + (1 + np.arange(20)) % 4)  # it begins on 2: bars at 1.75, 3.75, ...
    steady = sorted(hits(1.25, 3.25, 5.25, 7.25, pitch=38))
    filled = sorted(steady + hits(4.75, 5.0, 5.5, pitch=45))  # in the second bar
    assert effect("fills", steady, filled, grid, "drums", Performance(fills=2), 9.75) > 0


def test_effects_have_the_sign_of_what_was_asked():
    few, many = hits(0, 1, 2), hits(0, 0.5, 1, 1.5, 2)
    asked = Performance(complexity=0.9)
    assert effect("complexity", few, many, GRID, "drums", asked, 2.5) == pytest.approx(0.8)
    assert effect("complexity", many, few, GRID, "drums", asked, 2.5) == pytest.approx(-0.8)
    loud = [note._replace(velocity=100) for note in few]
    assert effect("dynamics", few, loud, GRID, "drums", Performance(dynamics=0.9), 8.0) == 20
    assert effect("push", few, hits(0, 0.98, 1.96), GRID, "drums", Performance(push=20), 8.0) == pytest.approx(20)
    with pytest.raises(KeyError):
        effect("kit", few, few, GRID, "drums", Performance(kit="jazz"), 8.0)
