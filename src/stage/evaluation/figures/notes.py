"""Figures of a part's notes: likeness to another part, repetition, how much is played and how evenly, fills.

Times are seconds on one time line; notes are `stage.notes.Note` (drums: keys of the GM map). Bars are given by their
first beats, the last of which ends the last bar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from stage.beats.grid import BeatGrid
from stage.evaluation.figures.beats import ONSET_TOLERANCE, matches
from stage.models.playable import GROUPS
from stage.notes import Note

LANE = {key: name for name, pieces in GROUPS.items() for _, key in pieces}
"""Group of drum pieces of each key."""
KICK_SNARE = ("kick", "snare")
TOMS = ("high toms", "low toms")
TIME = ("hats", "ride", "percussion")
"""Groups that keep time."""
TOGETHER = 0.03
"""Notes that begin within so many seconds are one onset (a chord)."""
FRAME = 0.01
FILL_HITS = 2
"""Hits of snare and toms beyond the part's usual number, in a bar's last half, from which the bar has a fill."""


def of_groups(notes: Iterable[Note], groups: Sequence[str]) -> list[Note]:
    """The hits of some groups of pieces."""
    return [note for note in notes if LANE.get(note.pitch) in groups]


def within(notes: Iterable[Note], start: float, end: float) -> list[Note]:
    """Notes that begin in [start, end), on the same time line."""
    return [note for note in notes if start <= note.start < end]


# ---------------------------------------------------------------- likeness


def onset_times(notes: Iterable[Note]) -> np.ndarray:
    """float64 [n] rising; those of a chord count once."""
    times = np.sort([note.start for note in notes])
    kept: list[float] = []
    for time in times:
        if not kept or time - kept[-1] > TOGETHER:
            kept.append(float(time))
    return np.array(kept)


def onset_f(truth: Iterable[Note], found: Iterable[Note], window: float = ONSET_TOLERANCE) -> float:
    """F-measure 0..1 of a part's onsets against another's, pitches and pieces left aside; nan if both are empty."""
    a, b = onset_times(truth), onset_times(found)
    return 2 * matches(a, b, window) / (len(a) + len(b)) if len(a) + len(b) else float("nan")


def piece_f(
    truth: Sequence[Note],
    found: Sequence[Note],
    groups: Sequence[str] = tuple(GROUPS),
    window: float = ONSET_TOLERANCE,
) -> float:
    """The same for drums, where only hits of one group match each other: over all hits of these groups."""
    matched = total = 0
    for group in groups:
        a, b = (onset_times(of_groups(notes, (group,))) for notes in (truth, found))
        matched, total = matched + matches(a, b, window), total + len(a) + len(b)
    return 2 * matched / total if total else float("nan")


def part_f(truth: Sequence[Note], found: Sequence[Note], drums: bool) -> float:
    """`piece_f` for drums, `onset_f` for pitched stems."""
    return piece_f(truth, found) if drums else onset_f(truth, found)


def repetition(notes: Sequence[Note], bars: np.ndarray, drums: bool) -> float:
    """How much each bar repeats the one before: mean `part_f` of neighbouring bars, 0..1; nan without two bars of
    which one has notes."""
    found = []
    for first, middle, end in zip(bars[:-2], bars[1:-1], bars[2:]):
        ratio = (end - middle) / (middle - first)
        # a note just before the bar line belongs to the downbeat behind it
        early = 0.03
        before = [
            n._replace(start=middle + (n.start - first) * ratio) for n in within(notes, first - early, middle - early)
        ]
        found.append(part_f(before, within(notes, middle - early, end - early), drums))
    found = np.array([value for value in found if np.isfinite(value)])
    return float(found.mean()) if len(found) else float("nan")


# ---------------------------------------------------------------- how much, how loudly


def density(notes: Sequence[Note], seconds: float, drums: bool) -> float:
    """Hits a second of drums, onsets a second (a chord is one) of pitched stems."""
    return (len(notes) if drums else len(onset_times(notes))) / seconds


def velocity_spread(notes: Sequence[Note]) -> float:
    """Standard deviation of the velocities; nan without notes."""
    return float(np.std([note.velocity for note in notes])) if len(notes) else float("nan")


def held(notes: Sequence[Note], seconds: float) -> float:
    """Share of frames of 10 ms in which a note is held."""
    frames = np.zeros(max(1, round(seconds / FRAME)), bool)
    for note in notes:
        frames[max(0, round(note.start / FRAME)) : max(0, round(note.end / FRAME))] = True
    return float(frames.mean())


# ---------------------------------------------------------------- fills


def fills(notes: Sequence[Note], bars: np.ndarray) -> np.ndarray:
    """Which bars have a fill: bool [len(bars) - 1].

    A fill is played on snare and toms in the last half of a bar: at least `FILL_HITS` more hits there than the part's
    bars have in the middle, on toms or in place of those that keep time; one more is enough for both at once.
    """
    halves = [((first + last) / 2, last - 0.03) for first, last in zip(bars[:-1], bars[1:])]
    if not halves:
        return np.zeros(0, bool)
    counts = [
        np.array([len(within(of_groups(notes, groups), *half)) for half in halves])
        for groups in (("snare", *TOMS), TOMS, TIME)
    ]
    more, toms, time = (count - np.median(count) for count in counts)
    return (more >= FILL_HITS) & ((toms > 0) | (time < 0)) | (more >= 1) & (toms > 0) & (time < 0)


# ---------------------------------------------------------------- places


def places(notes: Sequence[Note], grid: BeatGrid) -> np.ndarray:
    """Where notes begin, in beats from the grid's first: float64 [n]; those outside the grid are left out."""
    times = np.array([note.start for note in notes])
    times = times[(times >= grid.times[0] - 0.05) & (times <= grid.times[-1])] if len(times) and len(grid) > 1 else []
    return _beats(np.asarray(times, np.float64), grid.times)


def _beats(times: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Seconds to beats, the first beat going on before the grid."""
    found = np.interp(times, beats, np.arange(len(beats)))
    early = times < beats[0] if len(beats) else np.zeros(len(times), bool)
    return np.where(early, (times - beats[0]) / (beats[1] - beats[0]), found) if early.any() else found
