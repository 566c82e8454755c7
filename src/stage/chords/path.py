"""The chords that fit best over a row of beats: scores of every chord at every beat, and the best path through them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stage.chords.symbols import NO_CHORD, QUALITIES, Chord, named


def candidates(qualities: Sequence[str]) -> list[Chord]:
    """The chords of these qualities on all twelve roots, root by root within each quality, and last `NO_CHORD`."""
    return [named(root, QUALITIES[quality][0]) for quality in qualities for root in range(12)] + [NO_CHORD]


def masks(chords: Sequence[Chord]) -> np.ndarray:
    """float64 [S, 12], 1 where a pitch class belongs to a chord."""
    made = np.zeros((len(chords), 12))
    for chord, row in zip(chords, made):
        row[list(chord.classes)] = 1
    return made


def best(scores: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The path of the highest sum: int64 [T], indices of states.

    scores: float64 [T, S]. change: float64 [T], what it costs to be in another state at t than at t - 1.
    """
    steps, states = scores.shape
    if not steps:
        return np.zeros(0, np.int64)
    total = scores[0].astype(np.float64)
    came = np.zeros((steps, states), np.int64)
    here = np.arange(states)
    for t in range(1, steps):
        other = int(total.argmax())
        moves = total[other] - change[t] > total
        came[t] = np.where(moves, other, here)
        total = np.where(moves, total[other] - change[t], total) + scores[t]
    path = np.zeros(steps, np.int64)
    path[-1] = int(total.argmax())
    for t in range(steps - 1, 0, -1):
        path[t - 1] = came[t, path[t]]
    return path


def worth(scores: np.ndarray, change: np.ndarray) -> float:
    """The sum of the `best` path."""
    path = best(scores, change)
    return float(scores[np.arange(len(path)), path].sum() - change[1:][path[1:] != path[:-1]].sum())
