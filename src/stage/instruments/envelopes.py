"""Curves of a note: level in time, and the low pass whose cutoff follows an envelope of its own."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from stage.instruments.sfz import Region

FLOOR_DB = -80.0
"""Level that a decay or a release reaches in its time."""
LONGEST = 30.0
"""Seconds that a decay or a release may last."""
SHORTEST = 0.005
"""Seconds of the shortest release, so that none clicks."""
STEP = 256
"""Samples between two values of a moving cutoff."""
OPEN = 0.45
"""Cutoffs above this share of the rate leave the sound as it is."""


@lru_cache(64)
def _fall(samples: int) -> np.ndarray:
    """Level [n] float32 of a decay that reaches FLOOR_DB after `samples`, and goes on to half of it beyond."""
    curve = np.exp(np.arange(samples, dtype=np.float32) * np.float32(FLOOR_DB / 20 * math.log(10) / max(samples, 1)))
    tail = min(samples, max(1, samples // 20))
    curve[samples - tail :] *= np.linspace(1, 0, tail, dtype=np.float32)
    curve.flags.writeable = False
    return curve


def level(region: Region, rate: int, first: int, end: int, held: int) -> np.ndarray | None:
    """A note's level in its samples `first` to `end`, float32 [n], n <= end - first: attack, hold, decay to the
    sustain, release from sample `held` on (1 or more).

    It ends where the sound has fallen to nothing. None: it is 1 all the time.
    """
    attack, hold = (round(min(t, LONGEST) * rate) for t in (region.ampeg_attack, region.ampeg_hold))
    sustain, top = np.float32(min(1.0, max(0.0, region.ampeg_sustain / 100))), attack + hold
    if not attack and sustain == 1 and held >= end:
        return None
    decay = _fall(max(1, round(min(region.ampeg_decay, LONGEST) * rate))) if sustain < 1 else None
    if decay is not None and not sustain and top + len(decay) < held:
        end = min(end, top + len(decay))  # over before it is released
    if end > held:
        release = _fall(round(min(max(region.ampeg_release, SHORTEST), LONGEST) * rate))
        end = min(end, held + len(release))
    curve = np.ones(max(end - first, 0), np.float32)
    if (ramp := min(attack, held, end)) > first:
        curve[: ramp - first] = np.arange(first, ramp, dtype=np.float32) / np.float32(attack)
    low, high = max(first, top), min(end, held)
    if decay is not None and low < high:
        known, part = decay[low - top : high - top], curve[low - first : high - first]
        np.maximum(known, sustain, out=part[: len(known)])
        part[len(known) :] = sustain
    if end > held and end > first:
        if attack and held <= attack:
            last = (held if held < attack else held - 1) / attack
        elif decay is None or held <= top:
            last = 1.0
        else:
            last = max(decay[held - 1 - top], sustain) if held - 1 - top < len(decay) else sustain
        low = max(first, held)
        curve[low - first :] = np.float32(last) * release[low - held : end - held]
    return curve


def choke(curve: np.ndarray, first: int, at: int, fade: int) -> None:
    """Fade a level that begins at sample `first` out from sample `at` on, in place."""
    low = max(at - first, 0)
    past = np.arange(first + low - at, first - at + len(curve), dtype=np.float64)
    curve[low:] *= np.clip(1 - past / max(fade, 1), 0, 1)


# ---------------------------------------------------------------- filter


def cutoff(region: Region, rate: int, key: int, velocity: int) -> float | None:
    """Hz of a region's low pass for a note, before its envelope; None where it has none that matters."""
    if region.cutoff <= 0:
        return None
    cents = region.fil_keytrack * (key - region.fil_keycenter) + region.fil_veltrack * velocity / 127
    hertz = region.cutoff * 2 ** (max(-9600.0, min(9600.0, cents)) / 1200)
    return max(20.0, hertz) if hertz < OPEN * rate or region.fileg_depth < 0 else None


def sweep(region: Region, rate: int, base: float, first: int, end: int, held: int) -> np.ndarray:
    """Cutoffs in Hz, float64 [end - first], of the steps `first` to `end` (of STEP samples each) of a note that is
    held for `held` samples."""
    at = np.arange(first, end) * STEP / rate
    delay, sustain = region.fileg_delay, min(1.0, max(0.0, region.fileg_sustain / 100))
    rise, top = delay + region.fileg_attack, delay + region.fileg_attack + region.fileg_hold
    times = np.maximum.accumulate([0.0, delay, rise, top, top + max(region.fileg_decay * (1 - sustain), 1e-4)])
    shape = np.interp(at, times, [0.0, 0.0, 1.0, 1.0, sustain])
    released = held / rate
    if len(at) and released < at[-1]:
        start = float(np.interp(released, times, [0.0, 0.0, 1.0, 1.0, sustain]))
        after = at >= released
        shape[after] = np.maximum(0.0, start - (at[after] - released) / max(region.fileg_release, 1e-4))
    return base * 2 ** (region.fileg_depth * shape / 1200)


class LowPass:
    """A low pass of second order whose cutoff may change every STEP samples, for audio that comes in parts.

    resonance: dB above the level of the pass band at the cutoff, 0 for a Butterworth filter.
    """

    def __init__(self, rate: int, resonance: float, channels: int):
        self.rate, self.quality = rate, 10 ** ((min(max(resonance, -3.0), 40.0) - 3.0103) / 20)
        self.position = 0
        self._used: float | None = None
        self._b = self._a = np.zeros(3, np.float32)
        self._state = np.zeros((channels, 2), np.float32)
        self._last = np.zeros((2, channels, 2), np.float32)  # the last two samples in and out

    def push(self, audio: np.ndarray, cutoffs: np.ndarray) -> np.ndarray:
        """The next part [C, n] -> the same, filtered. cutoffs: Hz, of each step that the part touches."""
        from scipy.signal import lfilter

        out, begin, at = np.empty_like(audio), self.position, 0
        first = begin // STEP
        for step, cutoff in enumerate(cutoffs, first):
            edge = step * STEP - begin
            if self._used is not None and (edge < 0 or abs(cutoff / self._used - 1) < 2e-3):
                continue  # equal neighbours are filtered together
            if edge > at:
                out[:, at:edge], self._state = lfilter(self._b, self._a, audio[:, at:edge], axis=1, zi=self._state)
                self._remember(audio[:, at:edge], out[:, at:edge])
                at = edge
            self._change(float(cutoff))
        if at < audio.shape[1]:
            out[:, at:], self._state = lfilter(self._b, self._a, audio[:, at:], axis=1, zi=self._state)
            self._remember(audio[:, at:], out[:, at:])
        self.position += audio.shape[1]
        return out

    def _remember(self, audio: np.ndarray, out: np.ndarray) -> None:
        self._last = np.concatenate([self._last, np.stack([audio[:, -2:], out[:, -2:]])], axis=2)[:, :, -2:]

    def _change(self, cutoff: float) -> None:
        """Another cutoff, with the state that its filter had, had it made the output up to here: so there is no step
        where they meet."""
        began = self._used is not None
        self._used = cutoff
        omega = 2 * np.pi * min(max(cutoff, 20.0), OPEN * self.rate) / self.rate
        cosine, alpha = math.cos(omega), math.sin(omega) / (2 * self.quality)
        self._b = np.array([(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2], np.float64) / (1 + alpha)
        self._a = np.array([1 + alpha, -2 * cosine, 1 - alpha]) / (1 + alpha)
        self._b, self._a = self._b.astype(np.float32), self._a.astype(np.float32)
        if began:
            (x, y), (_, b1, b2), (_, a1, a2) = self._last, self._b, self._a
            self._state[:, 0] = b1 * x[:, 1] + b2 * x[:, 0] - a1 * y[:, 1] - a2 * y[:, 0]
            self._state[:, 1] = b2 * x[:, 1] - a2 * y[:, 1]
