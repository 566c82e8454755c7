"""Beats and downbeats of a recording: `track`.

Small networks give the probability of a beat and of a downbeat 50 times a second: the published ones of BeatNet
(`stage.beats.beatnet`) and our own for music without drums (`stage.beats.beattcn`). The bar-pointer model of
`stage.beats.bar_pointer`
finds the most probable beats; each is then moved to the networks' nearest peak, and neighbours are made to agree, since
musicians keep a tempo better than a grain of 20 ms shows it.
"""

from __future__ import annotations

import numpy as np

from stage.audio.files import resample, to_mono
from stage.beats.bar_pointer import BarPointer
from stage.beats.grid import BeatGrid

MODEL = BarPointer()
"""The published parameters. On 64 clips of rendered songs a firmer tempo, or a preference for moderate tempi, gained
nothing: what half and double time lost in one song, it won in another."""

SILENCE = 1e-4
"""Peak (-80 dBFS) below which a recording has no beats to track."""
SHORTEST_SECONDS = 1.0
PEAK = 0.3
"""Audio is brought to this peak before the networks listen: the level at which both metronomes and music without
drums are heard well."""

OWN_SHARE = 0.7
"""Weight of our own network's opinion beside that of the published ones."""


def track(audio: np.ndarray, rate: int, model: BarPointer = MODEL) -> BeatGrid:
    """Beats and downbeats of a recording, offline.

    audio: float32 [C, N] or [N]; rate in Hz. Returns a grid in seconds from the first sample; an empty grid for
    audio that is silent, not finite or shorter than a second.
    """
    return decode(listen(audio, rate), model).crop(0.0, audio.shape[-1] / rate)


def listen(audio: np.ndarray, rate: int, published_only: bool = False) -> np.ndarray:
    """What the networks hear: float64 [T, 2] at 50 frames/s, the probability of a beat and of a downbeat.

    audio: float32 [C, N] or [N]; rate in Hz. No frames for audio without anything to track. published_only: without
    our own network, which grew up on our corpus and so must not be the judge of models that did too.
    """
    mono = to_mono(audio)
    peak = float(np.abs(mono).max(initial=0))
    if len(mono) < SHORTEST_SECONDS * rate or not np.isfinite(peak) or peak < SILENCE:
        return np.zeros((0, 2))
    # Here, not above: torch takes seconds to import, and a grid from a file does not need it.
    from stage.beats.beatnet import RATE, features, published
    from stage.beats.beattcn import own

    spectra = features(resample(mono * (PEAK / peak), rate, RATE))
    if published_only:
        return published(spectra)
    return (1 - OWN_SHARE) * published(spectra) + OWN_SHARE * own(spectra)


def decode(probabilities: np.ndarray, model: BarPointer = MODEL) -> BeatGrid:
    """The most probable beats for what `listen` returned, placed on the networks' peaks and smoothed."""
    frames, numbers = model.decode(probabilities)
    return BeatGrid(smooth(to_peaks(frames, probabilities.sum(axis=1)) / model.frame_rate), numbers)


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
