"""Where the bars of tracked beats begin: what the tracker finds, and the chords, which change on downbeats more easily
than elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stage.beats.grid import BeatGrid
from stage.chords import path as paths
from stage.chords.estimation import beats_over, costs, fits

CHORDS, TRACKED = 12.0, 3.0
"""Nats of a unit of the chords' scores, and of the bars as they were tracked: from the middle of a wide range (8 to 50,
0 to 6) in which all is as good on composed songs that are in no figure."""


def counted(
    audio: np.ndarray, rate: int, grid: BeatGrid, downbeats: np.ndarray, bars: Sequence[int] | None = None
) -> BeatGrid:
    """The beats of a grid, in the bars that fit best.

    audio: float32 [C, N] or [N]; rate in Hz. grid: tracked in bars of one length. downbeats: float64 [n], nats by which
    each beat is likelier to be a downbeat than not. bars: numbers of beats a bar that are compared; None: the grid's.
    Where there are no chords the tracker decides alone.
    """
    bars = bars or (grid.beats_per_bar,)
    if len(grid) < 2 * max(bars):
        return grid
    edges, _, _ = beats_over(grid, seconds := np.shape(audio)[-1] / rate)
    _, scores = fits(audio, rate, edges)

    def worth(numbers: np.ndarray) -> float:
        _, around, bar = beats_over(replace(grid, numbers=numbers), seconds)
        fit = downbeats[numbers == 1].sum() + CHORDS * paths.worth(scores, costs(around, bar))
        return float(fit) + TRACKED * np.array_equal(numbers, grid.numbers)

    counts = [(np.arange(len(grid)) + first) % bar + 1 for bar in bars for first in range(bar)]
    return replace(grid, numbers=max(counts, key=worth))
