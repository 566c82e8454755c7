"""Figures of a part's notes against the beats: how much is played, how loudly, where it falls; and what an option of
`stage.generation.performance.Performance` has changed.

Notes are sorted. Beats are a line of one frame a beat (`stage.generation.touch.in_beats`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stage.beats.grid import BeatGrid
from stage.generation.performance import PIECES, Performance
from stage.generation.touch import STRUM, bar_starts, in_beats, subdivisions, swing_level
from stage.models.events import TimeLine
from stage.notes import Note

GESTURE = 0.05
"""Seconds within which notes count as one onset: those of a strum."""
APART = 0.2
"""Seconds within which a note is looked for that was moved."""
EXACT = 0.05
"""Milliseconds up to which onsets lie on a subdivision."""
PATTERN = PIECES["kick"] | PIECES["snare"] | PIECES["toms"]
STROKES = PIECES["snare"] | PIECES["toms"]


def onsets_per_second(notes: Sequence[Note], seconds: float) -> float:
    """Onsets a second, 0 or more; notes within 50 ms of an onset's first are the same."""
    last, count = -np.inf, 0
    for note in sorted(notes):
        if note.start - last > GESTURE:
            last, count = note.start, count + 1
    return count / seconds


def mean_velocity(notes: Sequence[Note]) -> float:
    """Mean MIDI velocity, 1 to 127; nan without notes."""
    return float(np.mean([note.velocity for note in notes])) if notes else float("nan")


def pairs(before: Sequence[Note], after: Sequence[Note]) -> list[tuple[float, float]]:
    """Onsets in seconds of the notes that both parts have: (before, after), by pitch and order; where one has more of a
    pitch, the nearest within 0.2 s."""
    found: list[tuple[float, float]] = []
    for pitch in sorted({note.pitch for note in before}):
        a, b = (np.array([n.start for n in sorted(part) if n.pitch == pitch]) for part in (before, after))
        if len(a) == len(b):
            found += zip(a.tolist(), b.tolist())
        elif len(b):
            nearest = b[np.abs(b[None] - a[:, None]).argmin(1)]
            found += [(x, y) for x, y in zip(a.tolist(), nearest.tolist()) if abs(x - y) < APART]
    return found


def swung(before: Sequence[Note], after: Sequence[Note], line: TimeLine) -> float:
    """Mean share of the beat (of half of it, where the part has sixteenths) by which the off-beats of `before` come
    later in `after`; nan where there are none. A sixth is from straight to triplets."""
    places = line.place(np.array([note.start for note in before]))
    level, thirds = swing_level(places), set(np.floor(places[subdivisions(places) == 3]).tolist())
    first, second = line.place(np.array(pairs(before, after)).reshape(-1, 2)).T
    inner = first * level % 1
    off = (inner > 0.4) & (inner < 0.63) & ~np.isin(np.floor(first), list(thirds))
    return float(((second - first) * level)[off].mean()) if off.any() else float("nan")


def looseness(notes: Sequence[Note], line: TimeLine, strums: bool = False) -> float:
    """Mean milliseconds between onsets and the nearest subdivision, 0 or more; nan without notes.

    strums: the notes of a stroke count as one, at their mean. Notes that begin with the recording are left out: what
    would begin before it is moved there.
    """
    starts = np.array([note.start for note in notes if note.start > 0])
    if not len(starts):
        return float("nan")
    if strums:
        strokes = np.cumsum(np.diff(starts, prepend=starts[0]) > STRUM)
        starts = np.bincount(strokes, starts) / np.bincount(strokes)
    places = line.place(starts)
    parts = subdivisions(places)
    return 1000 * float(np.abs(starts - line.seconds(np.round(places * parts) / parts)).mean())


def tightened(before: Sequence[Note], after: Sequence[Note], line: TimeLine, strums: bool = False) -> float:
    """By how many milliseconds onsets came closer to the subdivisions; nan where they lay on them before."""
    loose = looseness(before, line, strums)
    return loose - looseness(after, line, strums) if loose > EXACT else float("nan")


def fill_strokes(notes: Sequence[Note], line: TimeLine, downbeats: np.ndarray, every: int) -> float:
    """Strokes of snare and toms in the second half of each n-th bar, as a multiple of those of the other bars (both
    counted with half a stroke more, so that none divides by zero); nan without both kinds of bars. downbeats: seconds
    of the bars as they are counted, see `bar_starts`."""
    starts = np.round(line.place(downbeats)).astype(int)
    starts, ends = starts[:-1], starts[1:]
    places = line.place(np.array([note.start for note in notes if note.pitch in STROKES]))
    counts = np.array([((places > (a + b) / 2 - 0.1) & (places < b - 0.1)).sum() for a, b in zip(starts, ends)])
    fills = np.arange(1, len(starts) + 1) % every == 0
    if not fills.any() or fills.all():
        return float("nan")
    return float((counts[fills].mean() + 0.5) / (counts[~fills].mean() + 0.5))


def effect(
    option: str,
    before: Sequence[Note],
    after: Sequence[Note],
    beats: BeatGrid | TimeLine,
    stem: str,
    performance: Performance,
    seconds: float | None = None,
) -> float:
    """How much more of an option's effect `after` has, as a figure of its own unit: above 0 where it goes as asked.

    option: a field of `Performance`. after: played with `performance`; before: without the option, or with less of it.
    seconds: length of what is played. nan where there is nothing to measure, as with unwanted pieces that neither has.
    Raises KeyError for an option that does not change notes (kit, instrument).
    """
    if seconds is None:
        seconds = float(beats.times[-1])
    line = in_beats(beats, seconds)
    assert line is not None, "the effect of options is measured against beats"
    moving = [[note for note in part if stem != "drums" or note.pitch in PATTERN] for part in (before, after)]

    def difference(figure, *arguments) -> float:
        return figure(after, *arguments) - figure(before, *arguments)

    def fewer(which) -> float:
        first, second = (sum(which(note) for note in part) for part in (before, after))
        return float(first - second) if first or second else float("nan")

    span = performance.span(stem) or (0, 127)
    counted = bar_starts(beats, line)
    downbeats = np.append(counted, np.inf)
    low = downbeats[min(performance.from_bar or 1, len(downbeats)) - 1] if performance.from_bar else -np.inf
    high = downbeats[min(performance.to_bar or len(downbeats), len(downbeats) - 1)]
    shifts = pairs(before, after)
    slower = onsets_per_second(moving[0], seconds) - onsets_per_second(moving[1], seconds)
    measures = {
        "complexity": lambda: difference(onsets_per_second, seconds),
        "dynamics": lambda: difference(mean_velocity),
        "fills": lambda: difference(fill_strokes, line, counted, performance.fills or 4),
        "swing": lambda: swung(before, after, line),
        "push": lambda: float(np.mean([1000 * (a - b) for a, b in shifts])) if shifts else float("nan"),
        "tight": lambda: tightened(before, after, line, stem == "guitar"),
        "humanize": lambda: float(np.mean([1000 * abs(a - b) for a, b in shifts])) if shifts else float("nan"),
        "without": lambda: fewer(lambda note: note.pitch in performance.unwanted),
        "register": lambda: fewer(lambda note: not span[0] <= note.pitch <= span[1]),
        "half_time": lambda: slower,
        "double_time": lambda: -slower,
        "from_bar": lambda: fewer(lambda note: note.start < low - 0.06),
        "to_bar": lambda: fewer(lambda note: note.start > high),
    }
    return measures[option]()
