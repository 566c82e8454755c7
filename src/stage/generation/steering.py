"""What of a `Performance` steers the model: controls among its features, and rules for the choice of its codes.

A model may follow a control weakly. So each of them also moves chances: of beginning something (complexity, fills) and
of louder codes (dynamics). Chances that are moved alike keep the model's order of what is likely where.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from stage.beats.grid import BeatGrid
from stage.errors import StageError
from stage.generation.event_rules import EventRules
from stage.generation.performance import BARS_MOST, Performance, curve
from stage.models.events import LOWEST, MANNERS, ONSET, TimeLine, codecs
from stage.models.playable import GROUPS

DENSITIES: dict[str, tuple[float, float, float]] = {
    "drums": (0.22, 0.5, 0.75),
    "bass": (0.1, 0.27, 0.5),
    "keys": (0.1, 0.36, 0.65),
    "guitar": (0.2, 0.46, 0.75),
    "pads": (0.04, 0.16, 0.4),
}
"""The model's density (`stage.models.features.measured`) for a complexity of 0, 0.5 and 1: about the fifth percentile,
the median and beyond the 95th of the bars of composed songs."""
LOUDNESS = (0.4, 0.65, 0.9)
"""The model's dynamics for 0, 0.5 and 1."""
LIFT = {"drums": 0.5, "bass": 1.0, "keys": 0.8, "guitar": 0.8, "pads": 0.8}
"""Nats by which it is likelier that something begins at a complexity of 1, less likely at 0. What was played makes more
of the same likely, in drums the most: there 0.8 gave 0.6 to 7 onsets a second, 0.8 in basses 1.5 to 3.4 (a model that
was trained for half an hour)."""
LEAN = 1.2
"""Nats by which a step of velocity is likelier than the one below at dynamics of 1, less likely at 0."""
FILL, FILL_END, CRASH = 0.35, 0.5, 0.5
"""Least chance of a stroke of a fill on the sixteenths of the bar's second half, of its last beat, and of a crash after
it. (So many nats more, whatever the model's chance, filled 8 or 9 of 10 bars: in a part that is sure of its groove 4
nats add nothing, in another 2 are a roll.)"""
TOMS = 0.6
"""Share of a stroke's least chance that each group of toms has beside the snare."""
FRAMES = 6
"""About so many frames of equal length are a sixteenth."""
EARLY = 0.02
"""Seconds by which a line's beat may lie before the grid's, and be the same."""
STEADY = ("crash", "percussion")
"""Groups that do not become busier with the part."""


def bars(line: TimeLine, grid: BeatGrid | None = None) -> np.ndarray:
    """[T] int64, the bar in which each frame lies, from 1 on, which begins with the first downbeat; before it 0.

    grid: the beats of the song, whose first downbeat counts where the line's beats go on before them; needed for a line
    of frames of equal length. Raises StageError where no downbeat is known.
    """
    if line.division:
        starts = (line.numbers == 1) & (np.arange(line.frames) % line.division == 0)
        if grid is not None and len(grid.downbeats):
            starts &= line.times[:-1] > grid.downbeats[0] - EARLY
        found = np.cumsum(starts)
    elif grid is not None and len(grid):
        found = np.searchsorted(grid.downbeats, line.times[:-1] + 1e-6, side="right")
    else:
        found = np.zeros(line.frames, np.int64)
    if not found.any():
        raise StageError("no bars are known here: leave out --grid off, or give the beats with --grid FILE")
    return found.astype(np.int64)


def plays(performance: Performance, line: TimeLine, grid: BeatGrid | None = None) -> np.ndarray:
    """[T] bool: the frames in which the part may begin something. Raises StageError for a bar that is not there."""
    first, last = performance.from_bar, performance.to_bar
    if first is None and last is None:
        return np.ones(line.frames, bool)
    bar = bars(line, grid)
    if first is not None and first > bar.max():
        raise StageError(f"from-bar {first} is not there: the music ends with bar {bar.max()}")
    return (bar >= (first or 0)) & (bar <= (last or BARS_MOST))


def controls(
    performance: Performance, line: TimeLine, stem: str, grid: BeatGrid | None = None
) -> dict[str, np.ndarray | float]:
    """The model's controls (`stage.models.features.CONTROLS`) of a performance: those alone that are asked for."""
    made: dict[str, np.ndarray | float] = {}
    if performance.complexity is not None:
        made["density"] = np.interp(_values("complexity", performance, line, grid), (0, 0.5, 1), DENSITIES[stem])
    if performance.dynamics is not None:
        made["dynamics"] = np.interp(_values("dynamics", performance, line, grid), (0, 0.5, 1), LOUDNESS)
    if performance.fills or performance.fill_bars:
        made["border"] = _fills(performance, line, grid).astype(np.float32)
    return made


def rules(
    performance: Performance, line: TimeLine, stem: str, presence: float = 1.0, grid: BeatGrid | None = None
) -> EventRules:
    """The rules of a stem on a time line: see `EventRules.of`; for a part of it `EventRules.cut`.

    grid: the beats of the song, see `bars`. Raises StageError as `Performance.check`, and for bars that are not known.
    """
    performance.check(stem)
    codec = codecs()[stem]
    made = EventRules.of(codec, performance.played(stem), presence)
    allowed = made.allowed.clone()
    for lane, group in enumerate(GROUPS.values() if stem == "drums" else ()):
        for code, (_, key) in enumerate(group, 1):
            if key in performance.unwanted:
                allowed[1 + 2 * lane, code] = False
    if (span := performance.span(stem)) is not None:
        pitches = np.arange(MANNERS) - ONSET + LOWEST
        outside = (pitches < span[0]) | (pitches > span[1])
        allowed[1::2] &= made.still[1::2] | torch.from_numpy(~outside)
    lift = _lift(performance, line, stem, codec.codebooks, grid)
    lean = None
    if performance.dynamics is not None:
        lean = torch.from_numpy(2 * LEAN * (_values("dynamics", performance, line, grid) - 0.5)).float()
    least = None
    if performance.fills or performance.fill_bars:
        least = _fill_chances(_fills(performance, line, grid), line, codec.codebooks)
        least[~plays(performance, line, grid)] = 0
        least = torch.from_numpy(least)
    return replace(made, allowed=allowed, lift=lift, lean=lean, least=least)


def _lift(
    performance: Performance, line: TimeLine, stem: str, codebooks: int, grid: BeatGrid | None
) -> torch.Tensor | None:
    """[T, K] float32 of `EventRules.lift`, None where nothing is moved."""
    made = np.zeros((line.frames, codebooks), np.float32)
    if performance.complexity is not None:
        more = 2 * LIFT[stem] * (_values("complexity", performance, line, grid) - 0.5)
        lanes = range(1, codebooks, 2)
        if stem == "drums":
            lanes = [k for k, group in zip(lanes, GROUPS) if group not in STEADY]
        if stem == "bass":
            lanes = lanes[:1]  # the others would be more notes at once
        made[:, list(lanes)] += more[:, None]
    made[~plays(performance, line, grid)] = -np.inf
    return torch.from_numpy(made) if made.any() else None


def _fills(performance: Performance, line: TimeLine, grid: BeatGrid | None) -> np.ndarray:
    """[T] bool: the frames of the bars that have a fill."""
    bar = bars(line, grid)
    every = (bar % performance.fills == 0) if performance.fills else np.zeros(len(bar), bool)
    return (bar > 0) & (every | np.isin(bar, performance.fill_bars))


def _fill_chances(fills: np.ndarray, line: TimeLine, codebooks: int) -> np.ndarray:
    """[T, K] float32: strokes of snare and toms in the second half of the bars with a fill, and a crash after it."""
    made = np.zeros((line.frames, codebooks), np.float32)
    lane = {group: 1 + 2 * i for i, group in enumerate(GROUPS)}
    strokes = {lane["snare"]: 1.0, lane["high toms"]: TOMS, lane["low toms"]: TOMS}
    edges = np.flatnonzero(np.diff(np.concatenate([[False], fills, [False]]).astype(int)))
    for start, stop in zip(edges[::2], edges[1::2]):
        for first, last in _each_bar(line, start, stop):
            middle = first + (last - first) // 2
            step = max(1, line.division // 4)
            end = max(middle, last - line.division) if line.division else middle
            for stroke, share in strokes.items():
                made[middle:end:step, stroke] = share * FILL
                made[end:last:step, stroke] = share * FILL_END / (1 if line.division else FRAMES)
            if last < line.frames:
                made[last, lane["crash"]] = CRASH
    return made


def _each_bar(line: TimeLine, start: int, stop: int) -> list[tuple[int, int]]:
    """The bars of frames start..stop, where every bar has a fill."""
    inside = np.arange(start + 1, stop)
    if not line.division:
        return [(start, stop)]
    cuts = inside[(line.numbers[inside] == 1) & (inside % line.division == 0)]
    edges = [start, *cuts.tolist(), stop]
    return list(zip(edges, edges[1:]))


def _values(name: str, performance: Performance, line: TimeLine, grid: BeatGrid | None) -> np.ndarray:
    """[T] float64, the value of complexity or dynamics in each frame."""
    pairs = curve(name, getattr(performance, name))
    if len(pairs) == 1:
        return np.full(line.frames, pairs[0][1])
    bar = bars(line, grid)
    starts = np.flatnonzero(np.diff(bar, prepend=bar[0] - 1))
    lengths = np.diff(np.append(starts, line.frames))
    place = bar + (np.arange(line.frames) - np.repeat(starts, lengths)) / np.repeat(lengths, lengths)
    return np.interp(place, [p[0] for p in pairs], [p[1] for p in pairs])
