"""Cheap effects with random parameters, so that no two songs share a sound. All mono float32 `[N]`."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter, oaconvolve


def shelf(audio: np.ndarray, rate: int, frequency: float, gain_db: float, high: bool) -> np.ndarray:
    """A shelving filter (R. Bristow-Johnson's audio EQ cookbook, slope 1)."""
    a = 10 ** (gain_db / 40)
    w = 2 * np.pi * frequency / rate
    alpha, cos, root = np.sin(w) / np.sqrt(2), np.cos(w) * (-1 if high else 1), 2 * np.sqrt(a)
    sign = -1 if high else 1
    b = [
        a * (a + 1 - (a - 1) * cos + root * alpha),
        sign * 2 * a * (a - 1 - (a + 1) * cos),
        a * (a + 1 - (a - 1) * cos - root * alpha),
    ]
    d = [
        a + 1 + (a - 1) * cos + root * alpha,
        sign * -2 * (a - 1 + (a + 1) * cos),
        a + 1 + (a - 1) * cos - root * alpha,
    ]
    return lfilter((np.array(b) / d[0]).astype(np.float32), (np.array(d) / d[0]).astype(np.float32), audio)


def compress(audio: np.ndarray, rate: int, threshold_db: float, ratio: float) -> np.ndarray:
    """A feed-forward compressor on 4 ms peaks, with a smoothed gain."""
    hop = rate // 250
    frames = np.pad(np.abs(audio), (0, -len(audio) % hop)).reshape(-1, hop).max(axis=1)
    level = 20 * np.log10(maximum_filter1d(frames, 5) + 1e-6)
    over = np.maximum(level - threshold_db, 0)
    gain = lfilter([0.15], [1, -0.85], -over * (1 - 1 / ratio))
    centres = np.arange(len(gain)) * hop + hop // 2
    return audio * (10 ** (np.interp(np.arange(len(audio)), centres, gain) / 20)).astype(np.float32)


def room(rng: np.random.Generator, rate: int, seconds: float, brightness: float) -> np.ndarray:
    """A synthetic impulse response: a few early reflections and a decaying, darkened noise tail."""
    n = int(seconds * rate)
    t = np.arange(n) / rate
    tail = rng.standard_normal(n) * 10 ** (-3 * t / seconds)
    tail = lfilter([1 - brightness], [1, -brightness], tail)
    tail[: int(0.006 * rate)] = 0
    tail /= np.sqrt(np.sum(tail**2)) + 1e-9
    for _ in range(5):
        tail[int(rng.uniform(0.004, 0.04) * rate) % n] += rng.uniform(-0.4, 0.4)
    return tail.astype(np.float32)


def chorus(audio: np.ndarray, rate: int, depth_ms: float, speed: float) -> np.ndarray:
    """One voice of modulated delay added to the signal."""
    n = np.arange(len(audio))
    delay = (8 + depth_ms * np.sin(2 * np.pi * speed * n / rate)) * rate / 1000
    return audio + 0.6 * np.interp(n - delay, n, audio).astype(np.float32)


def treat(rng: np.random.Generator, audio: np.ndarray, rate: int, stem: str) -> np.ndarray:
    """Random tone, dynamics and room for one stem: float32 `[N]` in, float32 `[N]` out, peak 1."""
    audio = audio.astype(np.float32)
    audio /= np.max(np.abs(audio)) + 1e-9
    audio = shelf(
        audio, rate, float(rng.uniform(120, 400)), float(rng.normal(0, 3.0 if stem != "bass" else 1.5)), high=False
    )
    audio = shelf(audio, rate, float(rng.uniform(1500, 6000)), float(rng.normal(0.5, 4.0)), high=True)
    if rng.random() < 0.5:
        audio = compress(audio, rate, float(rng.uniform(-30, -12)), float(rng.uniform(1.5, 5)))
        audio /= np.max(np.abs(audio)) + 1e-9
    if rng.random() < 0.35:
        drive = float(rng.uniform(1.2, 4.0))
        audio = np.tanh(drive * audio) / np.tanh(drive)
    if stem not in ("drums", "bass") and rng.random() < 0.25:
        audio = chorus(audio, rate, float(rng.uniform(0.5, 2.5)), float(rng.uniform(0.2, 1.2)))
    wet = float(rng.beta(1.2, 3.0)) * {"bass": 0.25, "drums": 0.6}.get(stem, 0.8)
    if wet > 0.1:
        response = room(rng, rate, float(rng.uniform(0.12, 0.8)), float(rng.uniform(0.1, 0.85)))
        audio = audio + wet * oaconvolve(audio, response)[: len(audio)]
    return (audio / (np.max(np.abs(audio)) + 1e-9)).astype(np.float32)


def passage_rms(audio: np.ndarray, rate: int) -> float:
    """Level of the louder passages: the 80th percentile of the RMS of 0.2 s frames that sound."""
    hop = rate // 5
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop).astype(np.float64)
    rms = np.sqrt(np.mean(frames**2, axis=1))
    rms = rms[rms > 1e-4]
    return float(np.quantile(rms, 0.8)) if len(rms) else 0.0
