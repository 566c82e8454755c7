"""Changes of notes by a `Performance`: which are played, where they fall, how hard. Pure functions of lists of notes.

Places are in beats of the song, counted from its first one; a line of one frame a beat turns them into seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stage.beats.grid import BeatGrid
from stage.errors import StageError
from stage.generation.halves import half_time
from stage.generation.performance import Performance, nearest_octave
from stage.models.events import TimeLine
from stage.notes import Note

SHORTEST = 0.01
"""Seconds that a pitched note lasts at least."""
SAME = 0.005
"""Seconds within which two notes of one pitch are one."""
EARLIEST = 0.25
"""Seconds before 0 from which a note that has ended by then is moved to it; earlier ones are left out."""
STRUM = 0.045
"""Seconds within which the notes of a guitar are one stroke, which moves as a whole."""
DRIFT, JITTER = 0.012, 0.005
"""Standard deviation in seconds, at most, of what all notes of a moment and of what each note strays from its place."""
LOUDNESS_DRIFT, LOUDNESS_JITTER = 6.0, 7.0
"""The same of velocities."""
CELL = 0.25
"""Beats between the points of the drift."""
MEMORY = 2.0
"""Beats in which the drift loses most of its past."""


def play(
    performance: Performance,
    notes: Iterable[Note],
    beats: BeatGrid | TimeLine,
    stem: str,
    seed: int = 0,
    seconds: float | None = None,
) -> list[Note]:
    """Notes as they are to be played, sorted.

    beats: of the song, or a time line in musical time. seconds: the end of what is played; by default that of a time
    line, and none of a grid. None begins before 0 or after the end, none of a pitch overlaps the next, and none of a
    pitched stem has no length. Without any option that changes notes they stay as they are.

    Raises StageError as `Performance.check`, and where beats are needed and none are known.
    """
    performance.check(stem)
    notes = sorted(notes)
    if not notes or not performance.changes:
        return notes
    if seconds is None and isinstance(beats, TimeLine):
        seconds = float(beats.times[-1])
    line = in_beats(beats, max(seconds or 0.0, notes[-1].start))
    notes = [note for note in notes if note.pitch not in performance.unwanted or stem != "drums"]
    if (span := performance.span(stem)) is not None:
        notes = [note._replace(pitch=nearest_octave(note.pitch, *span)) for note in notes]
    if performance.half_time or performance.double_time:
        notes = half_time(notes, _needed(line, "half-time"), stem, performance.double_time)
    if performance.from_bar is not None or performance.to_bar is not None:
        bounds = performance.from_bar, performance.to_bar
        notes = within_bars(notes, bar_starts(beats, _needed(line, "from-bar")), *bounds, stem)
    notes = tidy(notes, stem)
    if performance.tight:
        notes = tighten(notes, _needed(line, "tight"), performance.tight, stem)
    if performance.swing:
        notes = swing(notes, _needed(line, "swing"), performance.swing, stem)
    if performance.humanize:
        notes = humanize(notes, line, performance.humanize, stem, seed)
    if performance.push:
        early = performance.push / 1000
        notes = [note._replace(start=note.start - early, end=note.end - early) for note in notes]
    return tidy(notes, stem, seconds)


def in_beats(beats: BeatGrid | TimeLine, seconds: float) -> TimeLine | None:
    """A line of one frame a beat, of a grid as far as `seconds`; None where fewer than two beats are known."""
    if isinstance(beats, TimeLine):
        if not beats.division:
            return None
        return TimeLine(beats.times[:: beats.division], beats.numbers[:: beats.division], 1)
    return TimeLine.musical(beats, seconds, 1) if len(beats) > 1 else None


def bar_starts(beats: BeatGrid | TimeLine, line: TimeLine) -> np.ndarray:
    """[bars] seconds of the downbeats of a line of beats; of a grid's line none before its own first one."""
    found = line.times[:-1][line.numbers == 1]
    if isinstance(beats, BeatGrid) and len(beats.downbeats):
        found = found[found > beats.downbeats[0] - SAME]
    return found


def within_bars(notes: list[Note], downbeats: np.ndarray, first: int | None, last: int | None, stem: str) -> list[Note]:
    """Notes that begin in bars first..last, from 1 on; none of a pitched stem sounds on after them."""
    if not len(downbeats):
        raise StageError("no bars are known here: leave out --grid off, or give the beats with --grid FILE")
    if first is not None and first > len(downbeats):
        raise StageError(f"from-bar {first} is not there: the music ends with bar {len(downbeats)}")
    early = SHORTEST * 5  # what anticipates the downbeat belongs to its bar
    low = downbeats[first - 1] - early if first is not None else -np.inf
    high = downbeats[last] if last is not None and last < len(downbeats) else np.inf
    kept = [note for note in notes if low <= note.start < high - early]
    return kept if stem == "drums" else [note._replace(end=min(note.end, high)) for note in kept]


def tidy(notes: Iterable[Note], stem: str, seconds: float | None = None) -> list[Note]:
    """Notes from 0 to `seconds`, none of a pitch overlapping the next, none of a pitched stem without length.

    What would begin before 0 begins there. Of two notes of a pitch at one moment the louder's velocity and the later
    end stay.
    """
    end, least = np.inf if seconds is None else seconds, 0.0 if stem == "drums" else SHORTEST
    by_pitch: dict[int, list[Note]] = {}
    for note in sorted(notes):
        start = max(0.0, note.start)
        if start + least > end or start >= end or (note.end <= 0 and note.start < -EARLIEST):
            continue
        last = note.end if note.start >= 0 else max(note.end, min(note.end - note.start, 0.05))
        note = note._replace(start=start, end=min(end, max(last, start + least)))
        row = by_pitch.setdefault(note.pitch, [])
        if row and note.start - row[-1].start < max(SAME, least):
            row[-1] = row[-1]._replace(end=max(row[-1].end, note.end), velocity=max(row[-1].velocity, note.velocity))
            continue
        if row and row[-1].end > note.start:
            row[-1] = row[-1]._replace(end=note.start)
        row.append(note)
    return sorted(note for row in by_pitch.values() for note in row)


def moved(notes: list[Note], starts: np.ndarray, stem: str) -> list[Note]:
    """Sorted notes with other starts [n], in seconds. Ends of pitched notes move as the onsets around them, so that a
    note that ended with the next one still does; drums keep their lengths."""
    before, ends = (np.array([getattr(note, name) for note in notes]) for name in ("start", "end"))
    if stem == "drums":
        stops = ends + starts - before
    else:
        anchors, first = np.unique(before, return_index=True)
        shifts = np.maximum.accumulate(starts[first]) - anchors
        stops = np.maximum(ends + np.interp(ends, anchors, shifts), starts + np.minimum(ends - before, 0.03))
    made = zip(notes, starts.tolist(), stops.tolist())
    return sorted(note._replace(start=start, end=stop) for note, start, stop in made)


def tighten(notes: list[Note], line: TimeLine, amount: float, stem: str) -> list[Note]:
    """Onsets moved to the nearest subdivision, by a share of the way: sixteenths, or thirds where they fit better."""
    starts, velocities = (np.array([getattr(note, name) for note in notes]) for name in ("start", "velocity"))
    places = line.place(starts)
    units, kinds = np.arange(len(notes)), np.array([note.pitch for note in notes])
    if stem == "guitar":
        units = np.cumsum(np.diff(starts, prepend=starts[0]) > STRUM)
        kinds = np.zeros(units[-1] + 1, np.int64)
    many = np.bincount(units)
    middles, loud = (np.bincount(units, values) / many for values in (places, velocities))
    parts = subdivisions(places)[np.unique(units, return_index=True)[1]]
    goals = np.round(middles * parts) / parts
    finer = _crowded(goals, kinds)
    goals[finer] = np.round(middles[finer] * parts[finer] * 2) / (parts[finer] * 2)
    shift = goals - middles
    crowd = _crowded(goals, kinds)  # flams and drags move as their loudest stroke
    for goal, kind in {(goals[i], kinds[i]) for i in np.flatnonzero(crowd)}:
        members = np.flatnonzero((goals == goal) & (kinds == kind))
        shift[members] = shift[max(members, key=lambda i: (loud[i], i))]
    return moved(notes, line.seconds(places + amount * shift[units]), stem)


def _crowded(goals: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """[n] bool: those of one kind that have one goal."""
    _, which, many = np.unique(np.stack([goals, kinds]), axis=1, return_inverse=True, return_counts=True)
    return many[which.ravel()] > 1


def subdivisions(places: np.ndarray) -> np.ndarray:
    """[n] int64: into how many parts the beat of each onset is divided, 4 or 3, as fits the onsets of the beat; the
    whole part decides where that is not clear."""
    straight, thirds = (np.abs(places - np.round(places * n) / n) for n in (4, 3))
    beat = np.floor(places).astype(int)
    beat -= beat.min(initial=0)
    inner = (places % 1 > 0.15) & (places % 1 < 0.85)
    a, b = (np.bincount(beat, error * inner) for error in (straight, thirds))
    mine = 3 if b.sum() < a.sum() else 4
    each = np.where(b < 0.35 * a, 3, np.where(a < 0.35 * b, 4, mine))
    return each[beat] if len(places) else np.zeros(0, np.int64)


def swing(notes: list[Note], line: TimeLine, amount: float, stem: str) -> list[Note]:
    """Off-beats moved late: at 1 to two thirds of the beat, of half a beat where a part has sixteenths.

    A part that swings by itself is moved by what lacks; beats of thirds stay.
    """
    places, ends = (line.place(np.array([getattr(n, name) for n in notes])) for name in ("start", "end"))
    level = swing_level(places)
    parts = subdivisions(places)
    thirds = {int(beat) for beat in np.floor(places[parts == 3])}
    inner = places * level % 1
    off = inner[(inner > 0.4) & (inner < 0.7) & (parts != 3)]
    own = float(np.clip(np.median(off), 0.5, 2 / 3)) if len(off) else 0.5
    goal = max(own, 0.5 + amount / 6)

    def late(place: np.ndarray) -> np.ndarray:
        whole = np.floor(place * level)
        new = (whole + np.interp(place * level - whole, (0, own, 1), (0, goal, 1))) / level
        return np.where(np.isin(np.floor(place), list(thirds)), place, new)

    starts, stops = line.seconds(late(places)), line.seconds(late(ends))
    if stem == "drums":
        stops = starts + np.array([note.end - note.start for note in notes])
    made = zip(notes, starts.tolist(), stops.tolist())
    return sorted(note._replace(start=start, end=max(start, stop)) for note, start, stop in made)


def swing_level(places: np.ndarray) -> int:
    """2 where a part has sixteenths that can swing, else 1 (eighths)."""
    part = places % 1
    sixteenths = (np.minimum(np.abs(part - 0.25), np.abs(part - 0.75)) < 0.08).mean() if len(places) else 0
    return 2 if sixteenths >= 0.1 else 1


def humanize(notes: list[Note], line: TimeLine | None, amount: float, stem: str, seed: int) -> list[Note]:
    """Seeded differences of time and velocity: a drift that all notes of a moment share, and a little of each note's
    own. Those of a seed are the same for every amount, but for their size, and stay when more notes follow."""
    seconds = np.array([note.start for note in notes])
    places = seconds * 2 if line is None else line.place(seconds)
    of_moments, of_notes = (np.random.default_rng([seed, len(stem), part]) for part in (0, 1))
    first = int(np.floor(places.min() / CELL)) - 1
    cells = int(np.ceil(places.max() / CELL)) + 2 - first
    keep = np.exp(-CELL / MEMORY)
    drift = of_moments.standard_normal((cells, 2))
    for i in range(1, cells):
        drift[i] = keep * drift[i - 1] + np.sqrt(1 - keep**2) * drift[i]
    own = of_notes.standard_normal((len(notes), 2)).clip(-2.5, 2.5)
    time, loudness = (np.interp(places, (first + np.arange(cells)) * CELL, drift[:, i].clip(-2.5, 2.5)) for i in (0, 1))
    starts = seconds + amount * (DRIFT * time + JITTER * own[:, 0])
    velocity = np.array([note.velocity for note in notes])
    velocity = velocity + amount * (LOUDNESS_DRIFT * loudness + LOUDNESS_JITTER * own[:, 1])
    louder = [note._replace(velocity=int(v)) for note, v in zip(notes, np.round(velocity).clip(1, 127))]
    return moved(louder, starts, stem)


def _needed(line: TimeLine | None, option: str) -> TimeLine:
    if line is None:
        raise StageError(f"{option} needs the beats: leave out --grid off, or give them with --grid FILE")
    return line
