"""The small vocabulary of the composer: metres, chords, sections, notes.

Positions are in *beats* from the start of bar 0 (a beat is a quarter note in 4/4 and 3/4 and a
dotted quarter in 6/8); `compose.Song.seconds` turns them into seconds.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

STEMS = ("drums", "bass", "guitar", "keys", "pads", "lead")


class Note(NamedTuple):
    """A note: start and length in beats, MIDI pitch, MIDI velocity 1..127."""

    beat: float
    length: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Metre:
    """Beats in a bar and grid steps in a beat (a step is a sixteenth note)."""

    name: str
    beats: int
    sub: int

    @property
    def steps(self) -> int:
        return self.beats * self.sub


METRES = {"4/4": Metre("4/4", 4, 4), "3/4": Metre("3/4", 3, 4), "6/8": Metre("6/8", 2, 6)}


@dataclass(frozen=True)
class Chord:
    """A sounding chord: beats [start, end), root and bass pitch class, pitch classes, a name."""

    start: float
    end: float
    root: int
    bass: int
    pitch_classes: tuple[int, ...]
    name: str


@dataclass
class Section:
    """Bars [start, start + bars) of one kind, with who plays and how full it is."""

    kind: str
    start: int
    bars: int
    energy: float = 0.0
    enters: dict[str, int] = field(default_factory=dict)  # stem -> bar (within the section) of entry
    silent: frozenset[str] = frozenset()

    def plays(self, stem: str, bar: int) -> bool:
        """Whether the stem plays in this bar (counted from the start of the song)."""
        return stem not in self.silent and bar - self.start >= self.enters.get(stem, 0)


def swung(part: float, ratio: float) -> float:
    """Where a place within a beat (0..1) sounds when the half of the beat falls on `ratio`."""
    return part / 0.5 * ratio if part < 0.5 else ratio + (part - 0.5) / 0.5 * (1 - ratio)


def lifted(density: float, energy: float) -> float:
    """How full a part of `density` (0..1) is in a section of that energy."""
    return float(np.clip(density + 0.45 * energy, 0.02, 0.98))


def louder(rng: np.random.Generator, velocity: float, energy: float, spread: float) -> int:
    """A MIDI velocity about `velocity`, louder in a section of more energy."""
    return int(np.clip(velocity + 16 * energy + rng.normal(0, spread), 15, 127))


def parity(text: str) -> int:
    """0 or 1 from a stable hash: training songs use the even ones, held-out songs the odd ones."""
    return zlib.crc32(text.encode()) & 1
