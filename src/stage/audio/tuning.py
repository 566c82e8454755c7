"""How far a recording's tuning is from A = 440 Hz: `estimate`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stage.audio import filters
from stage.audio.files import resample, to_mono

RATE = 11025
WINDOW, HOP = 8192, 4096
"""0.74 s at `RATE`: a semitone at 80 Hz is three and a half bins wide."""
LOWEST_HZ, HIGHEST_HZ = 80.0, 1300.0
"""Above, most peaks are high partials, which lie beside the notes of the scale."""
MOST_SECONDS = 120.0
"""Of a longer recording, its first part is measured."""
FLOOR = 3e-3
"""Magnitude below which a peak is left out, as a share of the loudest bin of the recording (-50 dB)."""
PROMINENCE = 4.0
"""A peak is at least this many times as high as the median of the bins around it: peaks of noise seldom are."""
NEIGHBOURS = 32
"""Bins that this median is taken of."""
FEWEST_PEAKS = 3.0
"""Peaks in a frame, on average, from which a recording counts fully as having pitch."""

SURE = 0.3
"""Confidence from which a tuning is to be trusted: see `estimate` for what music and drums reach."""
NOTICEABLE = 10.0
"""Cents from which a deviation is worth correcting; four times the error of `estimate`."""


@dataclass(frozen=True)
class Tuning:
    """A recording's tuning.

    cents: -50..50, how much sharper than A = 440 Hz; 0 where nothing with a pitch was found. Half a semitone sharp
        and half a semitone flat are the same thing: near 50 the sign is a matter of chance.
    confidence: 0..1, how closely the pitches lie on one equal-tempered scale, 0 where there are too few of them.
    """

    cents: float
    confidence: float

    @property
    def is_off(self) -> bool:
        """Whether the recording is certainly not at A = 440 Hz: trusted, and off by a noticeable amount."""
        return self.confidence >= SURE and abs(self.cents) >= NOTICEABLE


def estimate(audio: np.ndarray, rate: int) -> Tuning:
    """The tuning of a recording. audio: float32 [C, N] or [N]; rate in Hz.

    Measured on 12 rendered songs of `stage corpus`: moved by 0, 10, 25, 40 and 48 cents up and down, each whole song is
    placed to 2.5 cents, with a confidence of 0.46 to 0.81; stretches of 3 s at A = 440, with or without one of the
    stems, to 7.4 cents. Drums alone reach 0.12 as a whole song, 0.20 in 10 s and 0.44 in 3 s; noise 0.07. Of 912
    stretches of 3 to 10 s, none at A = 440 `is_off`. Takes 0.02 s for 30 s.
    """
    mono = to_mono(np.asarray(audio, np.float32))[: round(MOST_SECONDS * rate)]
    hz, height, per_frame = _peaks(resample(mono, rate, RATE))
    if len(hz) == 0:
        return Tuning(0.0, 0.0)
    semitones, weight = 12 * np.log2(hz / 440.0), np.sqrt(height)
    cents, closeness = _scale(semitones, weight)
    return Tuning(float(cents), float(closeness * min(1.0, per_frame / FEWEST_PEAKS)))


def _peaks(mono: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Peaks of the spectra of a recording at `RATE`: (Hz [n], magnitudes [n], peaks a frame that is not silent)."""
    if len(mono) < WINDOW or not np.isfinite(mono).all():
        return np.zeros(0), np.zeros(0), 0.0
    frames = filters.frames(mono, WINDOW, HOP)
    low, high = (round(hz * WINDOW / RATE) for hz in (LOWEST_HZ, HIGHEST_HZ))
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)[:, low - 1 : high + 2])
    least = max(FLOOR * float(spectrum.max()), 1e-5 * WINDOW)
    middle = spectrum[:, 1:-1]
    tall = middle > np.maximum(least, PROMINENCE * _surroundings(middle))
    frame, bin = np.nonzero(tall & (middle > spectrum[:, :-2]) & (middle >= spectrum[:, 2:]))
    before, at, after = (np.log(np.maximum(spectrum[frame, bin + step], 1e-9)) for step in range(3))
    offset = 0.5 * (before - after) / np.minimum(before - 2 * at + after, -1e-9)
    audible = np.count_nonzero(middle.max(axis=1) > least)
    return (low + bin + np.clip(offset, -0.5, 0.5)) * RATE / WINDOW, middle[frame, bin], len(bin) / max(audible, 1)


def _surroundings(spectrum: np.ndarray) -> np.ndarray:
    """The median of each block of `NEIGHBOURS` bins, at each of its bins: [T, F] as `spectrum`."""
    whole = spectrum.shape[1] // NEIGHBOURS * NEIGHBOURS
    medians = np.median(spectrum[:, :whole].reshape(len(spectrum), -1, NEIGHBOURS), axis=2)
    return np.pad(np.repeat(medians, NEIGHBOURS, axis=1), ((0, 0), (0, spectrum.shape[1] - whole)), mode="edge")


def _scale(semitones: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The equal-tempered scale on which pitches lie: (cents, 0..1 how closely).

    Each note of the scale counts by the root of its weight, so that neither a drone nor a snare drum, which is
    one pitch all the time, passes for music; and by how much its mean deviates less than chance would have it.
    """
    turns = np.exp(2j * np.pi * semitones)
    centre = float(np.angle((weight * turns).sum()) / (2 * np.pi))
    note = np.round(semitones - centre).astype(int)
    note -= note.min()
    total = np.bincount(note, weight)
    real, imaginary = (np.bincount(note, weight * part) for part in (np.real(turns), np.imag(turns)))
    mean = (real + 1j * imaginary) / np.maximum(total, 1e-12)
    share = np.sqrt(total) / np.sqrt(total).sum()
    notes, length = 1 / (share**2).sum(), abs((share * mean).sum())
    squared = (notes * length**2 - 1) / (notes - 1) if notes > 1.5 else 0.0
    for _ in range(4):  # the mode: partials and bends that lie beside the scale pull the mean
        beside = (semitones - centre + 0.5) % 1 - 0.5
        near = weight * np.exp(-0.5 * (beside / 0.12) ** 2)
        centre += float((near * beside).sum() / near.sum())
    return (100 * centre + 50) % 100 - 50, float(np.sqrt(max(0.0, squared)))
