"""Mel spectra in numpy, shared by the onset detector, the codec's distance and the pictures."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def mel_spectrum(audio: np.ndarray, rate: int, bands: int = 80, window: int = 1024, hop: int = 320) -> np.ndarray:
    """Magnitudes in mel bands: float32 [1 + N // hop, bands].

    audio: float [N]. Hann windows centred on every `hop` samples; the window's gain is taken out, so a full-scale
    sine reads about 1 in its band.
    """
    padded = np.pad(np.asarray(audio, np.float32), (window // 2, window))
    frames = 1 + len(audio) // hop
    cut = np.lib.stride_tricks.sliding_window_view(padded, window)[: frames * hop : hop][:frames]
    shape = np.hanning(window + 1)[:-1].astype(np.float32)
    magnitude = np.abs(np.fft.rfft(cut * shape)).astype(np.float32) / (shape.sum() / 2)
    return magnitude @ mel_bank(rate, bands, window)


@lru_cache(maxsize=8)
def mel_bank(rate: int, bands: int, window: int) -> np.ndarray:
    """float32 [window // 2 + 1, bands]: triangles of height 1, evenly spaced in mel from 0 to half the rate.

    A band narrower than a bin takes the nearest bin.
    """
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(window, 1 / rate)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bank = np.minimum((bins[:, None] - left) / (centre - left), (right - bins[:, None]) / (right - centre)).clip(0)
    for band in np.flatnonzero(bank.sum(axis=0) < 0.5):
        bank[np.abs(bins - centre[band]).argmin(), band] = 1.0
    return bank.astype(np.float32)


@lru_cache(maxsize=8)
def slaney_bank(rate: int, bands: int, window: int) -> np.ndarray:
    """float32 [window // 2 + 1, bands]: triangles of equal area on Slaney's mel scale from 0 to half the rate,
    librosa's default.

    The scale is linear to 1 kHz (three mels for 200 Hz) and logarithmic above (27 mels for a factor of 6.4).
    """
    turn, step = 15.0, np.log(6.4) / 27
    top = turn + np.log(rate / 2 / 1000) / step if rate > 2000 else rate / 2 * 3 / 200
    mels = np.linspace(0, top, bands + 2)
    edges = np.where(mels < turn, mels * 200 / 3, 1000 * np.exp(step * (mels - turn)))
    bins = np.fft.rfftfreq(window, 1 / rate)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bank = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(0)
    return (bank * 2 / (right - left)).astype(np.float32)
