"""Pitch classes over time, and the key that they fit best."""

from __future__ import annotations

import numpy as np

from stage.audio import filters
from stage.audio.files import resample, to_mono

RATE = 11025
WINDOW, HOP = 8192, 2048
LOWEST_HZ, HIGHEST_HZ = 55.0, 2000.0
PITCH_CLASSES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""One spelling for each pitch class, everywhere: the corpus writes its keys with these names too."""

MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
"""How well each pitch class fits a key on C: the probe-tone ratings of Krumhansl and Kessler (1982)."""


def chroma(audio: np.ndarray, rate: int) -> np.ndarray:
    """Energy of the twelve pitch classes (0 = C) about every 0.19 s: float32 [T, 12].

    audio: float32 [C, N] or [N]; rate in Hz. Rows sum to 1 or, in silence, to 0. Peaks of a spectrum of 0.74 s from
    55 to 2000 Hz, compressed by a square root, so that soft partials count beside loud ones.
    """
    mono = resample(to_mono(np.asarray(audio, np.float32)), rate, RATE)
    mono = np.pad(mono, (WINDOW // 2, WINDOW // 2))
    frames = filters.frames(mono, WINDOW, HOP)
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1))
    hz = np.fft.rfftfreq(WINDOW, 1 / RATE)
    inside = (hz >= LOWEST_HZ) & (hz <= HIGHEST_HZ)
    peaks = np.zeros_like(spectrum)
    middle = spectrum[:, 1:-1]
    peaks[:, 1:-1] = middle * ((middle > spectrum[:, :-2]) & (middle >= spectrum[:, 2:]))
    classes = np.round(12 * np.log2(hz[inside] / 440.0)).astype(int) + 9
    found = np.zeros((len(frames), 12), np.float32)
    for pitch in range(12):
        found[:, pitch] = np.sqrt(peaks[:, inside][:, classes % 12 == pitch]).sum(1)
    total = found.sum(1, keepdims=True)
    return np.divide(found, total, out=np.zeros_like(found), where=total > 1e-3)


def key_of(audio: np.ndarray, rate: int) -> str | None:
    """The key, like "C# minor", whose profile correlates best with the mean chroma; None for what has no pitch.

    The profiles' method is right for about two thirds of pop songs, and most often wrong by a fifth or the relative
    key.
    """
    return key_of_classes(chroma(audio, rate).mean(0))


def key_of_classes(mean: np.ndarray) -> str | None:
    """The same of weights [12] of the pitch classes."""
    if not mean.any() or mean.std() < 1e-4:
        return None
    scores = {
        f"{PITCH_CLASSES[root]} {mode}": np.corrcoef(np.roll(profile, root), mean)[0, 1]
        for mode, profile in (("major", MAJOR), ("minor", MINOR))
        for root in range(12)
    }
    return max(scores, key=scores.get)
