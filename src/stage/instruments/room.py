"""A small room: early reflections and a short tail that differ between left and right."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SECONDS = 0.22
"""Length of the room's response."""
REFLECTIONS = 14
"""Early ones of each channel, between 4 and 45 ms."""


@lru_cache(4)
def response(rate: int) -> np.ndarray:
    """The room's response float32 [2, N] to a click in the middle, without the direct sound; energy 1 a channel."""
    from scipy.signal import butter, sosfilt

    draws = np.random.default_rng(7)
    count = round(SECONDS * rate)
    at = np.arange(count) / rate
    out = np.zeros((2, count))
    for channel in out:
        times = np.sort(draws.uniform(0.004, 0.045, REFLECTIONS))
        signs = draws.choice([-1.0, 1.0], REFLECTIONS)
        for time, sign in zip(times, signs):
            channel[round(time * rate)] += sign * np.exp(-time / 0.03)
        tail = draws.normal(size=count) * np.exp(-at / 0.035) * np.clip((at - 0.012) / 0.03, 0, 1)
        channel += tail * np.sqrt(0.4 * np.square(channel).sum() / max(np.square(tail).sum(), 1e-12))
    band = butter(1, [180.0, min(6500.0, 0.4 * rate)], "bandpass", fs=rate, output="sos")
    out = sosfilt(band, out, axis=1)
    out *= np.linspace(1, 0, count) ** 0.5
    return (out / np.sqrt(np.square(out).sum(1, keepdims=True))).astype(np.float32)


class Room:
    """The room's sound, added to audio that comes in parts. amount: at 1 it is as loud as the direct sound."""

    def __init__(self, rate: int, amount: float):
        self.rate, self.amount = rate, amount
        self._tail = np.zeros((2, 0), np.float32)  # of the parts before

    def push(self, audio: np.ndarray) -> np.ndarray:
        """The next part float32 [2, n] -> the same with the room's sound of all parts so far. Same shape."""
        from scipy.signal import oaconvolve

        count = audio.shape[1]
        if not self.amount or not count:
            return audio
        middle, side = audio.mean(0), (audio[0] - audio[1]) / 2
        left, right = response(self.rate)
        wet = np.stack([oaconvolve(middle + 0.5 * side, left), oaconvolve(middle - 0.5 * side, right)])
        wet = wet.astype(np.float32)
        known = min(self._tail.shape[1], wet.shape[1])  # the tail is never longer
        wet[:, :known] += self._tail[:, :known]
        self._tail = wet[:, count:]
        return audio + np.float32(self.amount) * wet[:, :count]


def reverberate(audio: np.ndarray, rate: int, amount: float) -> np.ndarray:
    """Audio float32 [2, N] with the room's sound added: at amount 1 as loud as the direct sound. Same shape."""
    return Room(rate, amount).push(audio)
