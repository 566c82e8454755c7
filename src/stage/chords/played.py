"""Chords of played notes, beat by beat: `chords_of`; and of a MIDI file: `chart`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stage import midi
from stage.beats.grid import BeatGrid
from stage.chords import path as paths
from stage.chords.chart import Bar, Chart, Span, on_bars
from stage.chords.symbols import QUALITIES, Chord, named
from stage.errors import StageError
from stage.notes import Note

NAMED = tuple(name for name in QUALITIES if name not in ("1", "7alt", "(b5)"))
"""Qualities that are looked for; the earlier of two that fit equally."""
FOREIGN, MISSING, OF_THE_BASS, RARER = 1.0, 0.15, 0.12, 0.002
"""What a share of notes outside a chord costs it, and each tone that is not played; what it gains where the lowest note
is its root; and what each place in the table costs."""
CHANGE, OFF_THE_BAR = 0.3, 0.1
"""What a new chord costs, and how much more within a bar."""
SILENT = 0.25
"""What "no chord" gains in a beat without notes: after three or so the chord has ended."""
ALIGNED = 0.1
"""Share of a beat by which the beats of a file and those of the recording may differ to be the same."""
MOST_BEATS = 10_000
BY_BARS = "the bars of the MIDI file were laid on those of the music, from the first downbeat on"


def chords_of(notes: Sequence[Note], times: np.ndarray, numbers: np.ndarray) -> list[Chord]:
    """The chord of each beat. times: float64 [n + 1], the beats' seconds and the last one's end; numbers: int64 [n]."""
    weights, lowest = _weights(notes, times)
    chords = paths.candidates(NAMED)
    masks = paths.masks(chords)
    sounding = weights.sum(1, keepdims=True)
    share = np.divide(weights, sounding, out=np.zeros_like(weights), where=sounding > 0)
    present = (share > 0.02).astype(float)
    inside = share @ masks.T
    scores = inside - FOREIGN * (share.sum(1, keepdims=True) - inside)
    scores -= MISSING * (masks.sum(1) - present @ masks.T) * (sounding > 0)
    roots = np.array([chord.root for chord in chords])
    scores += OF_THE_BASS * np.where(roots >= 0, lowest[:, roots], 0.0)
    scores -= RARER * (np.arange(len(chords)) // 12)
    silent = sounding[:, 0] == 0
    scores[silent] = 0
    scores[:, -1] = np.where(silent, SILENT, -FOREIGN)
    cost = CHANGE + OFF_THE_BAR * (np.asarray(numbers) != 1)
    return _with_bass([chords[i] for i in paths.best(scores, cost)], lowest)


def _weights(notes: Sequence[Note], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each pitch class in each beat, and each one's share of the time of the lowest note: [n, 12] both."""
    count = len(times) - 1
    weights, lowest = np.zeros((count, 12)), np.zeros((count, 12))
    deepest = np.full(count, 999)
    for note in sorted(notes, key=lambda note: note.pitch):
        first = max(0, int(np.searchsorted(times, note.start, "right")) - 1)
        last = min(count, int(np.searchsorted(times, note.end, "left")))
        for beat in range(first, last):
            length = min(note.end, times[beat + 1]) - max(note.start, times[beat])
            if length < 0.02 * (times[beat + 1] - times[beat]):
                continue
            weights[beat, note.pitch % 12] += length
            if note.pitch <= deepest[beat] + 4:  # a line of the bass within the beat
                deepest[beat] = min(deepest[beat], note.pitch)
                lowest[beat, note.pitch % 12] += length
    total = lowest.sum(1, keepdims=True)
    return weights, np.divide(lowest, total, out=np.zeros_like(lowest), where=total > 0)


def _with_bass(chords: list[Chord], lowest: np.ndarray) -> list[Chord]:
    """Chords over the tone that is mostly the lowest while they last."""
    made, begin = [], 0
    for end in range(1, len(chords) + 1):
        if end < len(chords) and chords[end] == chords[begin]:
            continue
        chord, share = chords[begin], lowest[begin:end].sum(0)
        bass = int(share.argmax())
        if chord.root >= 0 and bass in chord.classes and bass != chord.root and share[bass] > 0.6 * share.sum():
            chord = named(chord.root, [(x - chord.root) % 12 for x in chord.classes], bass)
        made += [chord] * (end - begin)
        begin = end
    return made


def chart(path: Path, grid: BeatGrid | None, seconds: float | None, start: float = 0.0) -> Chart:
    """The chords of a MIDI file on a recording's stretch that begins at `start` seconds.

    Where there is no grid, or the file's beats are the recording's, the file's times count; else its bars are laid on
    the grid's, again from the first where they are fewer. Raises StageError as `stage.midi.read`, and for a file of
    drums alone.
    """
    score = midi.read(path)
    notes = [note for part in score.parts if not part.drums for note in part.notes]
    if not notes:
        raise StageError(f"{path} has no notes but drums: chords need pitched ones")
    times, numbers = score.beats()
    if len(times) > MOST_BEATS:
        raise StageError(f"{path} has {len(times)} beats: chords are read of at most {MOST_BEATS}")
    ends = np.append(times, max(score.seconds, times[-1] + 1e-3))
    chords = chords_of(notes, ends, numbers)
    if grid is None or seconds is None or _aligned(times, score.seconds, grid.shift(start), start, seconds):
        spans = tuple(Span(a, b, chord) for a, b, chord in zip(ends[:-1], ends[1:], chords) if b - a > 2e-3)
        return Chart(spans).joined().crop(start, np.inf if seconds is None else start + seconds)
    return on_bars(_bars(chords, numbers), grid, seconds).remarked(BY_BARS)


def _aligned(times: np.ndarray, end: float, grid: BeatGrid, start: float, seconds: float) -> bool:
    """Whether the beats of a file are those of a grid (both from the recording's beginning), for most of a stretch."""
    if len(grid) < 2 or len(times) < 2 or end - start < seconds / 2:
        return False
    inside = grid.times[(grid.times >= times[0]) & (grid.times <= times[-1])]
    if not len(inside):
        return False
    place = np.searchsorted(times, inside).clip(1, len(times) - 1)
    away = np.minimum(abs(inside - times[place - 1]), abs(times[place] - inside))
    return bool(np.median(away) < ALIGNED * np.median(np.diff(grid.times)))


def _bars(chords: list[Chord], numbers: np.ndarray) -> list[Bar]:
    """The chords of each bar, a cell a beat."""
    starts = np.flatnonzero(numbers == 1)
    made = []
    for begin, end in zip(starts, [*starts[1:], len(chords)]):
        cells = chords[begin:end]
        made.append(tuple(cell if i == 0 or cell != cells[i - 1] else None for i, cell in enumerate(cells)))
    return made
