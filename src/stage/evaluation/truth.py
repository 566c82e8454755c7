"""What is known about a stretch of music: its beats, tempo and chords."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stage.beats.grid import BeatGrid
from stage.evaluation.figures.harmony import Chord


@dataclass(frozen=True)
class Truth:
    """The known beats, tempo in BPM and chords of a stretch; times in seconds from its beginning."""

    grid: BeatGrid
    bpm: float
    chords: tuple[Chord, ...] = ()

    def to_bytes(self) -> bytes:
        """The same bytes for the same truth, for a digest."""
        chords = [(chord.start, chord.end, sorted(chord.classes)) for chord in self.chords]
        beats = np.stack([self.grid.times, self.grid.numbers]).astype(np.float64)
        return beats.tobytes() + repr((float(self.bpm), chords)).encode()


def chords_within(rows: Iterable[Mapping[str, Any]], start: float, seconds: float) -> tuple[Chord, ...]:
    """The chords of a song ({start, end, pitch_classes}, seconds) that sound in a stretch of it."""
    return tuple(
        Chord(row["start"] - start, row["end"] - start, frozenset(row["pitch_classes"]))
        for row in rows
        if row["pitch_classes"] and row["end"] > start and row["start"] < start + seconds
    )


def tempo_distance(first: float, second: float) -> float:
    """Distance of two tempi in octaves, half and double time counting as the same: 0 to 0.5."""
    octaves = abs(np.log2(first / second)) % 1
    return float(min(octaves, 1 - octaves))
