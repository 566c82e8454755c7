"""A quick check of a take: figures that are computed in a moment, by which takes are ranked. They say what is likely
to be wrong, not what is good; all takes are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stage.audio.level import loudness, spread
from stage.beats.grid import BeatGrid
from stage.chords.chart import Chart
from stage.chords.symbols import NO_CHORD
from stage.notes import Note

if TYPE_CHECKING:
    from stage.models.events import TimeLine

NEAR = 0.04
"""Seconds within which an onset is on a subdivision of the beat."""
QUIET = -45.0
"""dB against the loudest tenth of a second below which a stem counts as silent."""


def figures(
    audio: np.ndarray,
    rate: int,
    notes: tuple[Note, ...] | None,
    stem: str,
    grid: BeatGrid | None = None,
    chart: Chart | None = None,
    channels: int = 2,
) -> dict[str, float]:
    """Figures of a take, audio float32 [C, N]; those that cannot be measured are left out.

    loudness: LUFS. peak: of the samples, 1 is full scale. silent: share of the time without sound, 0..1. on_grid: share
    of the onsets that lie within 40 ms of a sixteenth or a triplet. in_chord: share of the time of the notes that
    belongs to tones of the sounding chord (not of drums). onsets: a second. score: 0..1, the product of on_grid and
    in_chord, less for a stem that is silent more than half of the time, and a half of it for one that clips.
    """
    level = loudness(spread(audio, channels), rate)
    peak = float(np.abs(audio).max(initial=0.0))
    made = {"loudness": round(level, 2) if np.isfinite(level) else -120.0, "peak": round(peak, 4)}
    made["silent"] = round(_silent(audio, rate), 4)
    seconds = audio.shape[-1] / rate
    if notes is not None:
        made["onsets"] = round(len(notes) / seconds, 3)
        if notes and grid is not None:
            made["on_grid"] = round(on_grid(notes, grid, seconds), 4)
        if stem != "drums" and chart is not None and (share := in_chord(notes, chart)) is not None:
            made["in_chord"] = round(share, 4)
    score = made.get("on_grid", 1.0) * made.get("in_chord", 1.0) * min(1.0, 2 * (1 - made["silent"]))
    if peak >= 1.0:
        score /= 2
    return made | {"score": round(score, 4)}


def on_grid(notes: tuple[Note, ...], grid: BeatGrid, seconds: float) -> float:
    """Share of the onsets near a quarter or a third of a beat."""
    line = _musical(grid, seconds, 12)
    starts = np.array([note.start for note in notes])
    places = line.place(starts)
    nearest = np.stack([line.seconds(np.round(places / step) * step) for step in (3, 4)])
    return float((np.abs(nearest - starts).min(0) <= NEAR).mean())


def in_chord(notes: tuple[Note, ...], chart: Chart) -> float | None:
    """Share of the notes' time in which they are tones of the chord; None where no chord sounds with any."""
    inside = whole = 0.0
    for span in chart:
        if span.chord == NO_CHORD or not span.chord.classes:
            continue
        for note in notes:
            shared = min(note.end, span.end) - max(note.start, span.start)
            if shared > 0:
                whole += shared
                inside += shared * (note.pitch % 12 in span.chord.classes)
    return inside / whole if whole else None


def distance(first: tuple[Note, ...], second: tuple[Note, ...], grid: BeatGrid | None, seconds: float) -> float:
    """How differently two takes play, 0 (alike) to 1: one less the share of (sixteenth, pitch) that both have."""
    if grid is None:
        grid = BeatGrid.regular(120, 4, seconds + 1)
    line = _musical(grid, seconds, 4)

    def cells(notes: tuple[Note, ...]) -> set[tuple[int, int]]:
        places = line.place(np.array([note.start for note in notes]))
        return {(round(float(place)), note.pitch) for place, note in zip(places, notes)}

    a, b = cells(first), cells(second)
    return 1 - len(a & b) / len(a | b) if a | b else 0.0


def _musical(grid: BeatGrid, seconds: float, division: int) -> TimeLine:
    from stage.models.events import TimeLine  # imports torch, which a server does without

    return TimeLine.musical(grid, seconds, division)


def _silent(audio: np.ndarray, rate: int) -> float:
    size = max(1, rate // 10)
    count = audio.shape[-1] // size
    if not count:
        return float(np.abs(audio).max(initial=0.0) < 1e-4)
    power = np.square(audio[:, : count * size], dtype=np.float32).mean(0).reshape(count, size).mean(1)
    least = max(float(power.max()) * 10 ** (QUIET / 10), 1e-10)
    return float((power < least).mean())
