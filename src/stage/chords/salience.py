"""The notes that sound in each beat of a recording: the ground on which chords are found.

Magnitudes of notes are explained by notes with overtones (non-negative least squares, as in Mauch and Dixon, ISMIR
2010), once in the register of chords and once in that of basses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, optimize

from stage.audio import filters

RATE = 11025
HOP = 1024
STEP = 512
"""Spectra that are computed at a time."""
OVERTONES, DECAY = 10, 0.8
"""Partials of a note, and each one's height against the one before (of square roots of magnitudes)."""
NOISE, TONES = 1.5, 2.2
"""Between these figures of `tonal` a beat becomes tonal: noise has 1.4 to 1.7, drums 1.8 (median) to 2.5 (95 %), songs
with drums 4.0 (median) and 2.1 (5 %)."""


@dataclass(frozen=True)
class Register:
    """Notes, MIDI numbers low..high - 1, and the samples of a spectrum for them. centre, width: the note that counts
    most, and the deviation of the bell around it, in semitones."""

    low: int
    high: int
    window: int
    centre: float
    width: float


CHORD = Register(48, 100, 4096, 66, 12)
BASS = Register(24, 60, 8192, 40, 7)
"""In the bass fine enough for semitones at 40 Hz."""


def spectra(mono: np.ndarray, cents: float, register: Register) -> np.ndarray:
    """Magnitude at each third of a semitone, from a third below the lowest note on: float32 [frames, 3 notes], every
    `HOP` samples. mono: float32 [N] at `RATE`; cents: its tuning from A = 440 Hz."""
    window = register.window
    thirds = np.arange(register.low * 3 - 1, register.high * 3 - 1) / 3
    place = filters.note_hz(thirds + cents / 100) * window / RATE
    bin, share = place.astype(int), (place % 1).astype(np.float32)
    padded = np.pad(mono, (window // 2, window // 2 + HOP))
    cut = filters.frames(padded, window, HOP)
    bell = np.hanning(window).astype(np.float32) / window
    found = np.empty((len(cut), len(thirds)), np.float32)
    for start in range(0, len(cut), STEP):
        spectrum = np.abs(np.asarray(fft.rfft(cut[start : start + STEP] * bell, axis=1)))
        found[start : start + STEP] = spectrum[:, bin] * (1 - share) + spectrum[:, bin + 1] * share
    return found


def over(frames: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The median of spectra [frames, n] in each stretch between edges [T + 1], in which drums hardly show: [T, n]."""
    return np.stack([np.median(frames[rows], axis=0) for rows in inside(np.arange(len(frames)) * HOP / RATE, edges)])


def notes(magnitudes: np.ndarray) -> np.ndarray:
    """How strong each note is played, from the thirds of semitones of `spectra` [T, 3 notes]: float64 [T, notes]."""
    heights = np.sqrt(magnitudes.reshape(len(magnitudes), -1, 3).max(2))  # a note may lie beside the scale
    known = _overtones(heights.shape[1])
    return np.stack([optimize.nnls(known, row)[0] for row in heights.astype(np.float64)])


def classes(played: np.ndarray, register: Register) -> np.ndarray:
    """Shares of the pitch classes in each beat, weighted around the register's centre: float64 [T, 12] from [T, notes];
    rows sum to 1, or 0."""
    pitches = np.arange(register.low, register.high)
    played = played * np.exp(-0.5 * ((pitches - register.centre) / register.width) ** 2)
    found = np.stack([played[:, pitches % 12 == pitch].sum(1) for pitch in range(12)], axis=1)
    total = found.sum(1, keepdims=True)
    return np.divide(found, total, out=np.zeros_like(found), where=total > 1e-6)


def tonal(magnitudes: np.ndarray) -> np.ndarray:
    """How far each beat [T, thirds of semitones] has tones, not noise: 0..1 [T]. By how much the highest place in each
    four semitones is above their mean."""
    parts = magnitudes[:, : magnitudes.shape[1] // 12 * 12].astype(np.float64).reshape(len(magnitudes), -1, 12)
    above = parts.max(2).sum(1) / np.maximum(parts.mean(2).sum(1), 1e-9)
    return ((above - NOISE) / (TONES - NOISE)).clip(0, 1)


def inside(times: np.ndarray, edges: np.ndarray) -> list[slice]:
    """The moments [n], rising, that lie in each stretch between edges; the nearest one where there is none."""
    borders = np.searchsorted(times, edges)
    made = []
    for first, last, middle in zip(borders[:-1], borders[1:], (edges[1:] + edges[:-1]) / 2):
        nearest = int(np.abs(times - middle).argmin()) if first >= last else 0
        made.append(slice(first, last) if first < last else slice(nearest, nearest + 1))
    return made


def _overtones(notes: int) -> np.ndarray:
    """Semitones of notes with their overtones, a column each: float64 [notes, notes]."""
    made = np.zeros((notes, notes))
    for partial in range(1, OVERTONES + 1):
        above = round(12 * np.log2(partial))
        made += DECAY ** (partial - 1) * np.eye(notes, k=-above)
    return made


def halves(edges: np.ndarray) -> np.ndarray:
    """Edges [T + 1] with the middles between them: [2 T + 1]."""
    made = np.empty(2 * len(edges) - 1)
    made[::2], made[1::2] = edges, (edges[1:] + edges[:-1]) / 2
    return made


@dataclass(frozen=True)
class Beats:
    """What sounds in each beat. chord [T, 52] and bass [T, 36]: how strong each note is played; chord_halves and
    bass_halves [2 T, ...]: the same of each half of a beat; tonal [T]: `tonal`."""

    chord: np.ndarray
    bass: np.ndarray
    chord_halves: np.ndarray
    bass_halves: np.ndarray
    tonal: np.ndarray


def beats(mono: np.ndarray, cents: float, edges: np.ndarray) -> Beats:
    """What sounds between edges [T + 1], in seconds. mono, cents: as of `spectra`."""
    chord, bass = (spectra(mono, cents, register) for register in (CHORD, BASS))
    fine, whole = halves(edges), over(chord, edges)
    return Beats(
        notes(whole), notes(over(bass, edges)), notes(over(chord, fine)), notes(over(bass, fine)), tonal(whole)
    )
