"""Is a bass line in the chord? Notes of a monophonic stem by their fundamental, against the chords that sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from stage.audio import filters
from stage.audio.chroma import chroma
from stage.audio.files import resample

RATE = 8000
HOP = 80
WINDOW = 512
LOWEST_HZ, HIGHEST_HZ = 35.0, 400.0
PERIODICITY = 0.25
"""The normalised difference function must fall below this for a frame to have a pitch."""
LEVEL = 0.03
"""Frames quieter than this, relative to the clip's loudest frame, have no pitch (-30 dB)."""
SHORTEST = 0.06
UNPITCHED = ("drums", "percussion")
"""Stems without harmony."""


@dataclass(frozen=True)
class Note:
    """A stretch of one pitch: seconds, and the MIDI number of the nearest semitone."""

    start: float
    end: float
    pitch: int


@dataclass(frozen=True)
class Chord:
    """Pitch classes (0 = C) that sound from `start` to `end` seconds."""

    start: float
    end: float
    classes: frozenset[int]


def pitches(audio: np.ndarray, rate: int) -> np.ndarray:
    """Fundamental of each 10 ms as MIDI numbers: float64 [T], nan where there is none.

    YIN (de Cheveigne, Kawahara 2002): the first lag at which the cumulative-mean-normalised difference of a frame of
    64 ms and its shifted self dips below `PERIODICITY`, refined by a parabola.
    """
    audio = resample(np.asarray(audio, np.float32), rate, RATE).astype(np.float64)
    shortest, longest = int(RATE / HIGHEST_HZ), int(RATE / LOWEST_HZ) + 2
    frames = len(audio) // HOP
    if not frames:
        return np.zeros(0)
    span = WINDOW + longest
    padded = np.pad(audio, (WINDOW // 2, span))
    cut = filters.frames(padded, span, HOP, frames)

    size = 1 << (span + WINDOW).bit_length()
    product = np.fft.rfft(cut, size) * np.conj(np.fft.rfft(cut[:, :WINDOW], size))
    correlation = np.fft.irfft(product, size)[:, : longest + 1]
    energy = np.cumsum(np.pad(cut**2, ((0, 0), (1, 0))), axis=1)
    shifted = energy[:, WINDOW:] - energy[:, :-WINDOW]
    difference = np.maximum(shifted[:, :1] + shifted[:, : longest + 1] - 2 * correlation, 0)
    lags = np.arange(1, longest + 1)
    mean = np.cumsum(difference[:, 1:], axis=1) / lags
    normalised = np.ones_like(difference)
    normalised[:, 1:] = difference[:, 1:] / np.maximum(mean, 1e-12)

    level = np.sqrt(shifted[:, 0] / WINDOW)
    loud = level > max(LEVEL * level.max(), 1e-4)
    found = np.full(frames, np.nan)
    for frame in np.flatnonzero(loud):
        lag = _first_dip(normalised[frame], shortest)
        if lag:
            found[frame] = 69 + 12 * np.log2(RATE / lag / 440)
    return found


def _first_dip(curve: np.ndarray, shortest: int) -> float | None:
    """Lag, finer than a sample, of the first dip below the threshold; None without one."""
    below = np.flatnonzero(curve[shortest:-1] < PERIODICITY)
    if not len(below):
        return None
    lag = shortest + int(below[0])
    while lag + 2 < len(curve) and curve[lag + 1] < curve[lag]:
        lag += 1
    before, at, after = curve[lag - 1 : lag + 2]
    curvature = before - 2 * at + after
    return lag + (float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)) if curvature > 0 else 0.0)


def notes(audio: np.ndarray, rate: int) -> list[Note]:
    """Notes of a monophonic stem, in order: runs of one semitone, at least 60 ms long."""
    found = pitches(audio, rate)
    semitones = np.where(np.isnan(found), -1, np.round(np.nan_to_num(found))).astype(int)
    semitones = median_filter(semitones, 5, mode="nearest")
    edges = np.flatnonzero(np.diff(semitones, prepend=-2, append=-2))
    runs = zip(edges[:-1], edges[1:])
    step = HOP / RATE
    return [
        Note(first * step, last * step, int(semitones[first]))
        for first, last in runs
        if semitones[first] >= 0 and (last - first) * step >= SHORTEST - 1e-9
    ]


def share_in_chord(played: Sequence[Note], chords: Sequence[Chord]) -> float:
    """Share of the notes' time whose pitch class belongs to the chord that sounds at the note's middle.

    nan without a note under a chord.
    """
    inside = total = 0.0
    for note in played:
        middle = (note.start + note.end) / 2
        sounding = next((chord for chord in chords if chord.start <= middle < chord.end), None)
        if sounding is None:
            continue
        total += note.end - note.start
        inside += (note.end - note.start) * (note.pitch % 12 in sounding.classes)
    return inside / total if total else float("nan")


def chroma_agreement(stem: np.ndarray, context: np.ndarray, rate: int) -> float:
    """Mean correlation over time of the pitch classes of a stem and of its context, where both sound: -1..1.

    nan where they never do.

    stem, context: float32 [N] at `rate` Hz.
    """
    ours, theirs = (part - part.mean(1, keepdims=True) for part in _fitted(chroma(stem, rate), chroma(context, rate)))
    sizes = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    sounds = sizes > 1e-6
    return float(((ours * theirs).sum(1)[sounds] / sizes[sounds]).mean()) if sounds.any() else float("nan")


def _fitted(*parts: np.ndarray) -> list[np.ndarray]:
    shortest = min(map(len, parts))
    return [part[:shortest] for part in parts]
