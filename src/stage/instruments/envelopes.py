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


def level(region: Region, rate: int, count: int, held: int) -> np.ndarray | None:
    """A note's level float32 [n], n <= count: attack, hold, decay to the sustain, release from sample `held` on.

    It ends where the sound has fallen to nothing. None: it is 1 all the time.
    """
    attack, hold = (round(min(t, LONGEST) * rate) for t in (region.ampeg_attack, region.ampeg_hold))
    sustain = min(1.0, max(0.0, region.ampeg_sustain / 100))
    if not attack and sustain == 1 and held >= count:
        return None
    curve = np.ones(min(count, held), np.float32)
    ramp = min(attack, len(curve))
    curve[:ramp] = np.arange(ramp, dtype=np.float32) / np.float32(max(attack, 1))
    if sustain < 1 and attack + hold < len(curve):
        fall = _fall(max(1, round(min(region.ampeg_decay, LONGEST) * rate)))
        part = curve[attack + hold :]
        if sustain == 0 and len(fall) < len(part):
            curve = curve[: attack + hold + len(fall)]
            curve[attack + hold :] = fall
            return curve  # over before it is released
        known = min(len(fall), len(part))
        np.maximum(fall[:known], np.float32(sustain), out=part[:known])
        part[known:] = sustain
    if held >= count:
        return curve
    fall = _fall(round(min(max(region.ampeg_release, SHORTEST), LONGEST) * rate))[: count - held]
    last = attack and held < attack and held / attack or curve[-1]
    return np.concatenate([curve, np.float32(last) * fall])


def choke(curve: np.ndarray, at: int, fade: int) -> None:
    """Fade a level out from sample `at` on, in place."""
    count = len(curve) - at
    if count > 0:
        curve[at:] *= np.clip(1 - np.arange(count, dtype=np.float32) / max(fade, 1), 0, 1)


# ---------------------------------------------------------------- filter


def cutoff(region: Region, rate: int, key: int, velocity: int) -> float | None:
    """Hz of a region's low pass for a note, before its envelope; None where it has none that matters."""
    if region.cutoff <= 0:
        return None
    cents = region.fil_keytrack * (key - region.fil_keycenter) + region.fil_veltrack * velocity / 127
    hertz = region.cutoff * 2 ** (max(-9600.0, min(9600.0, cents)) / 1200)
    return max(20.0, hertz) if hertz < OPEN * rate or region.fileg_depth < 0 else None


def sweep(region: Region, rate: int, base: float, count: int, held: int) -> np.ndarray:
    """Cutoffs in Hz, float64 [steps of STEP samples], for `count` samples of a note that is held for `held`."""
    at = np.arange(0, max(count, 1), STEP) / rate
    delay, sustain = region.fileg_delay, min(1.0, max(0.0, region.fileg_sustain / 100))
    rise, top = delay + region.fileg_attack, delay + region.fileg_attack + region.fileg_hold
    times = np.maximum.accumulate([0.0, delay, rise, top, top + max(region.fileg_decay * (1 - sustain), 1e-4)])
    shape = np.interp(at, times, [0.0, 0.0, 1.0, 1.0, sustain])
    end = held / rate
    if end < at[-1]:
        start = float(np.interp(end, times, [0.0, 0.0, 1.0, 1.0, sustain]))
        after = at >= end
        shape[after] = np.maximum(0.0, start - (at[after] - end) / max(region.fileg_release, 1e-4))
    return base * 2 ** (region.fileg_depth * shape / 1200)


def low_pass(audio: np.ndarray, rate: int, cutoffs: np.ndarray, resonance: float, step: int = STEP) -> np.ndarray:
    """Filter audio float32 [C, N] by a low pass of second order whose cutoff in Hz changes every `step` samples.

    resonance: dB above the level of the pass band at the cutoff, 0 for a Butterworth filter.
    """
    from scipy.signal import lfilter

    quality = 10 ** ((min(max(resonance, -3.0), 40.0) - 3.0103) / 20)
    omega = 2 * np.pi * np.clip(cutoffs, 20.0, OPEN * rate) / rate
    cosine, alpha = np.cos(omega), np.sin(omega) / (2 * quality)
    ones = 1 + alpha
    b = (np.stack([(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2], 1) / ones[:, None]).astype(np.float32)
    a = (np.stack([ones, -2 * cosine, 1 - alpha], 1) / ones[:, None]).astype(np.float32)
    out = np.empty_like(audio)
    state = np.zeros((len(audio), 2), np.float32)
    at = used = 0  # the step whose filter is in use
    for i in range(len(b)):  # equal neighbours are filtered together
        last = i + 1 == len(b)
        if not last and abs(cutoffs[i + 1] / cutoffs[used] - 1) < 2e-3:
            continue
        end = audio.shape[1] if last else (i + 1) * step
        out[:, at:end], _ = lfilter(b[used], a[used], audio[:, at:end], axis=1, zi=state)
        at, used = end, i + 1
        if not last:  # the state of the next filter, had it made the output up to here: no step where they meet
            x, y, (_, b1, b2), (_, a1, a2) = audio[:, at - 2 : at], out[:, at - 2 : at], b[used], a[used]
            state[:, 0] = b1 * x[:, 1] + b2 * x[:, 0] - a1 * y[:, 1] - a2 * y[:, 0]
            state[:, 1] = b2 * x[:, 1] - a2 * y[:, 1]
    return out
