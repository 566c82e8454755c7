"""What is measured of a mix at each moment, beside its codes: pitch classes, onsets and levels in bands.

A small decoder learns slowly from codes alone which chord sounds and where the others play; these numbers say it nearly
as it is. They stand frame by frame among the features (`stage.models.features`), the codes remain the prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stage.audio import filters
from stage.audio.files import resample
from stage.models.events import TimeLine

RATE = 32000
"""Hz of the audio that is measured."""
LOW_RATE = 8000
"""Hz of what pitch classes are read from."""
SLOW_WINDOW, SLOW_HOP = 4096, 640
"""At `LOW_RATE`."""
FAST_WINDOW, FAST_HOP = 1024, 640
LOWEST, NOTES, LOW_NOTES = 33, 60, 24
"""MIDI pitch of the lowest semitone, semitones of the spectrum, and those of them that are the low part."""
BANDS = (30.0, 150.0, 500.0, 2500.0, 15000.0)
"""Edges in Hz of the bands of onsets and levels."""
SIZE = 24 + 2 * (len(BANDS) - 1)
"""Numbers of a frame: pitch classes of the low part and of all, onsets, levels."""


@dataclass(frozen=True)
class Heard:
    """slow: [n, 24] float32, pitch classes of the low notes and of all, every 80 ms. fast: [m, 8] float32,
    onsets and levels of the bands, every
    20 ms."""

    slow: np.ndarray
    fast: np.ndarray

    def at(self, line: TimeLine, ratio: float = 1.0) -> np.ndarray:
        """[T, SIZE] float32 at the frames of a time line: pitch classes at the middle of each, the strongest onset and
        the mean level within. ratio: seconds of the mix for a second of the line."""
        times = line.times * ratio
        middle = np.clip((times[1:] + times[:-1]) / 2 * LOW_RATE / SLOW_HOP, 0, len(self.slow) - 1)
        low = middle.astype(int)
        part = (middle - low)[:, None].astype(np.float32)
        slow = self.slow[low] * (1 - part) + self.slow[np.minimum(low + 1, len(self.slow) - 1)] * part
        edges = np.clip(np.round(times * RATE / FAST_HOP).astype(int), 0, len(self.fast) - 1)
        first, count = edges[:-1], np.maximum(np.diff(edges), 1)
        bands = len(BANDS) - 1
        sums = np.concatenate([np.zeros((1, bands), np.float32), np.cumsum(self.fast[:, bands:], 0, dtype=np.float32)])
        level = (sums[np.minimum(first + count, len(self.fast))] - sums[first]) / count[:, None]
        onset = np.stack([self.fast[np.minimum(first + i, first + count - 1), :bands] for i in range(count.max())])
        return np.concatenate([slow, onset.max(0), level], 1).astype(np.float32)


def measure(audio: np.ndarray) -> Heard:
    """Measure a mix, mono float32 [N] at `RATE`. Silence measures as zeros."""
    audio = np.asarray(audio, np.float32)
    return Heard(_pitch_classes(audio), _bands(audio))


def _spectra(audio: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Magnitudes [frames, window // 2 + 1] around every hop-th sample."""
    padded = np.pad(audio, (window // 2, window // 2 + hop))
    shape = np.hanning(window).astype(np.float32)
    parts = filters.frames(padded, window, hop, len(audio) // hop + 1)
    return np.concatenate(
        [np.abs(np.fft.rfft(parts[i : i + 256] * shape, axis=1)).astype(np.float32) for i in range(0, len(parts), 256)]
    )


@lru_cache(1)
def _semitones() -> np.ndarray:
    low = float(filters.note_hz(np.array(LOWEST)))
    return filters.semitone_triangles(low, NOTES, SLOW_WINDOW, LOW_RATE).astype(np.float32)


def _pitch_classes(audio: np.ndarray) -> np.ndarray:
    notes = _spectra(resample(audio, RATE, LOW_RATE), SLOW_WINDOW, SLOW_HOP) @ _semitones()
    # what lies over its neighbourhood is a tone; the rest is noise
    around = np.median(
        np.lib.stride_tricks.sliding_window_view(np.pad(notes, ((0, 0), (6, 6)), "wrap"), 13, 1), axis=-1
    )
    notes = np.sqrt(np.maximum(notes - around, 0))
    made = np.zeros((len(notes), 24), np.float32)
    for note in range(NOTES):
        pitch = (LOWEST + note) % 12
        made[:, 12 + pitch] += notes[:, note]
        if note < LOW_NOTES:
            made[:, pitch] += notes[:, note]
    for part in (made[:, :12], made[:, 12:]):
        total = part.sum(1, keepdims=True)
        part *= 6 / np.maximum(total, 1e-2 * max(float(total.max(initial=0.0)), 1e-6))
    return made


def _bands(audio: np.ndarray) -> np.ndarray:
    power = np.square(_spectra(audio, FAST_WINDOW, FAST_HOP))
    hz = filters.bin_hz(FAST_WINDOW, RATE)
    energy = np.stack([power[:, (hz >= a) & (hz < b)].sum(1) for a, b in zip(BANDS, BANDS[1:])], 1)
    loud = np.maximum(np.quantile(energy, 0.95, axis=0) if len(energy) else 0.0, 1e-6)
    decibel = 10 * np.log10(np.maximum(energy / loud, 1e-6))
    level = np.clip(decibel, -60, 10) / 20 + 1.5
    rise = np.maximum(np.diff(decibel, axis=0, prepend=decibel[:1]), 0)
    # a rise from silence counts by how loud it becomes
    onset = np.minimum(rise, 30) / 10 * 10 ** (np.clip(decibel, -40, 0) / 40)
    return np.concatenate([onset, np.where(energy > 1e-5 * loud.max(), level, -1.5)], 1).astype(np.float32)
