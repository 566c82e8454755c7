"""Beats and downbeats of a recording: `track`.

A small causal network gives the probability of a beat and of a downbeat 50 times a second
(`stage.models.beatnet`); the bar-pointer model of `stage.dbn` finds the most probable beats; each is then
moved to the network's nearest peak, and neighbours are made to agree, since musicians keep a tempo better
than a grain of 20 ms shows it.
"""

from __future__ import annotations

import numpy as np

from stage.audio import resample, to_mono
from stage.dbn import BarPointer
from stage.rhythm import BeatGrid

MODEL = BarPointer(tempo_inertia=300.0, tempo_spread=0.5)
"""Firmer in tempo than the published defaults, and drawn towards moderate tempi: clips are short, and
half or double time is the commonest error."""

SILENCE = 1e-4
"""Peak (-80 dBFS) below which a recording has no beats to track."""
SHORTEST_SECONDS = 1.0
PEAK = 0.9
"""The network was trained on mastered music: audio is brought to this peak before it listens."""
LATENESS = 0.0
"""Seconds by which the network's peaks come after the beats, measured on rendered songs."""


def track(audio: np.ndarray, rate: int, model: BarPointer = MODEL) -> BeatGrid:
    """Beats and downbeats of a recording, offline.

    audio: float32 [C, N] or [N]; rate in Hz. Returns a grid in seconds from the first sample; an empty grid for
    audio that is silent, not finite or shorter than a second.
    """
    mono = to_mono(audio)
    peak = float(np.abs(mono).max(initial=0))
    if len(mono) < SHORTEST_SECONDS * rate or not np.isfinite(peak) or peak < SILENCE:
        return BeatGrid.empty()
    # Here, not above: torch takes seconds to import, and a grid from a file does not need it.
    from stage.models.beatnet import FRAME_RATE, RATE, beat_network

    probabilities = beat_network().probabilities(resample(mono * (PEAK / peak), rate, RATE))
    frames, numbers = model.decode(probabilities)
    times = smooth(to_peaks(frames, probabilities.sum(axis=1)) / FRAME_RATE) - LATENESS
    grid = BeatGrid(times, numbers)
    return grid.crop(0.0, len(mono) / rate)


def to_peaks(frames: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """Move each beat to the peak of the activation within three frames after the frame where it begins.

    frames: int64 [n]; activation: float [T]. Returns float64 [n] frames, finer than a frame by a parabola
    through the peak and its neighbours.
    """
    padded = np.pad(activation, (1, 5))
    window = padded[frames[:, None] + np.arange(1, 5)]
    peaks = frames + window.argmax(axis=1)
    before, at, after = (padded[peaks + offset] for offset in (0, 1, 2))
    curvature = before - 2 * at + after
    slope = np.where(curvature < 0, 0.5 * (before - after) / np.minimum(curvature, -1e-9), 0.0)
    return peaks + np.clip(slope, -0.5, 0.5)


def smooth(times: np.ndarray, reach: int = 4) -> np.ndarray:
    """Each time replaced by the line through the beats at most `reach` before and after it."""
    if len(times) < 3:
        return times
    smoothed = np.empty_like(times)
    for index in range(len(times)):
        low, high = max(0, index - reach), min(len(times), index + reach + 1)
        beats = np.arange(low, high) - index
        smoothed[index] = np.polyfit(beats, times[low:high], 1)[1]
    return smoothed
