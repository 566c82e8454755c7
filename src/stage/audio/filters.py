"""Banks of triangular filters over the bins of a Fourier transform, and the frames that are transformed.

Several trained networks read these bands, so each caller's numbers are fixed to the last bit: what differs between
them (scale, range, height, arithmetic) is a parameter. `xp` is the module that computes: numpy in float64, or torch in
float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def bin_hz(window: int, rate: int, xp: Any = np) -> Any:
    """Frequency in Hz of each bin of a transform of `window` samples: [window // 2 + 1]."""
    return xp.arange(window // 2 + 1) * rate / window


def mel_edges(bands: int, low: float, high: float, xp: Any = np) -> Any:
    """Edges in Hz of bands that overlap by half, evenly spaced on HTK's mel scale from low to high: [bands + 2]."""
    bottom, top = (2595 * math.log10(1 + hz / 700) for hz in (low, high))
    return 700 * (10 ** (xp.linspace(bottom, top, bands + 2) / 2595) - 1)


def slaney_edges(bands: int, high: float) -> np.ndarray:
    """`mel_edges` on Slaney's scale, librosa's default, from 0 Hz: float64 [bands + 2].

    The scale is linear to 1 kHz (three mels for 200 Hz) and logarithmic above (27 mels for a factor of 6.4).
    """
    turn, step = 15.0, np.log(6.4) / 27
    top = turn + np.log(high / 1000) / step if high > 1000 else high * 3 / 200
    mels = np.linspace(0, top, bands + 2)
    return np.where(mels < turn, mels * 200 / 3, 1000 * np.exp(step * (mels - turn)))


def note_hz(notes: np.ndarray) -> np.ndarray:
    """Frequencies in Hz of MIDI numbers, A = 440 Hz."""
    return 440 * 2 ** ((notes - 69) / 12)


def triangles(edges: Any, hz: Any, least: float = 0.0, xp: Any = np) -> Any:
    """Triangles of height 1 from edge to edge but one, with their peaks on the edge between: [len(hz), len(edges) - 2].

    hz: of the bins. least: width in Hz that either side of a triangle has at least, so that none falls between bins.
    """
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = centre - left, right - centre
    if least:
        rise, fall = (xp.maximum(side, xp.asarray(least)) for side in (rise, fall))
        left, right = centre - rise, centre + fall
    return xp.minimum((hz[:, None] - left) / rise, (right - hz[:, None]) / fall).clip(min=0)


def semitone_triangles(low: float, notes: int, window: int, rate: int, xp: Any = np) -> Any:
    """Triangles of height 1, a semitone (at least a bin) wide on either side, for each semitone from `low` Hz up.

    Returns [window // 2 + 1, notes].
    """
    centres = low * 2 ** (xp.arange(notes) / 12)
    width = xp.maximum(centres * (2 ** (1 / 12) - 1), xp.asarray(rate / window))
    return (1 - abs(bin_hz(window, rate, xp)[:, None] - centres) / width).clip(min=0)


def fill_empty(bank: np.ndarray, hz: np.ndarray, centres: np.ndarray, least: float = 1e-30) -> np.ndarray:
    """The bank [F, B] in which each filter whose sum is below `least` takes also the bin nearest to its centre."""
    bank = bank.copy()
    for band in np.flatnonzero(bank.sum(axis=0) < least):
        bank[np.abs(hz - centres[band]).argmin(), band] = 1.0
    return bank


def frames(audio: np.ndarray, window: int, hop: int, count: int | None = None) -> np.ndarray:
    """Overlapping stretches of audio [N], the first `count` or all that are whole: a view [T, window], `hop` apart."""
    return np.lib.stride_tricks.sliding_window_view(audio, window)[::hop][:count]
