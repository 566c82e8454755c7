"""How loud audio is, and bringing it there: loudness, limiting, mixing.

Audio is float32 numpy, `[C, N]` (channels, samples) or `[N]`; rates are integers in Hz.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

CEILING = 10 ** (-0.1 / 20)
"""Highest sample that is written: -0.1 dB of full scale."""

MOST_GAIN = 24.0
"""The most by which a stem is brought up, dB."""

BLOCK = 2**20
"""Samples that are worked on at a time where a copy of the whole would be heavy."""

SILENCE = 1e-4
"""Peak below which a signal counts as silent: -80 dB of full scale."""


def rms(audio: np.ndarray) -> float:
    """Root mean square of all samples."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float32), dtype=np.float64))) if audio.size else 0.0


def loudness(audio: np.ndarray, rate: int) -> float:
    """Gated loudness of audio [C, N] or [N] in LUFS after ITU-R BS.1770-4; -inf for silence.

    Channels count alike (the surround weights are left out). One difference: what is shorter than a
    block of 0.4 s is measured as one block.
    """
    hop = max(1, round(0.1 * rate))
    energy = sum((_hop_energies(channel, rate, hop) for channel in np.atleast_2d(audio)), np.zeros(()))
    count = min(4, len(energy))
    if not count:
        return float("-inf")
    total = np.concatenate([[0.0], np.cumsum(energy)])
    blocks = (total[count:] - total[:-count]) / min(count * hop, audio.shape[-1])
    loud = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
    if not len(loud):
        return float("-inf")
    loud = loud[loud > loud.mean() / 10]
    return float(-0.691 + 10 * np.log10(loud.mean()))


def _hop_energies(channel: np.ndarray, rate: int, hop: int) -> np.ndarray:
    """Energy of the K-weighted channel [N] in each hop, float64; block by block, to be light on memory.

    An incomplete hop at the end counts only where there is no complete one.
    """
    settle = (
        rate // 2 + 1
    )  # samples after which nothing is left of what went through the filters: they fall by 2,000 dB a second
    size = 2 ** int(np.ceil(np.log2(2 * settle + 50 * hop)))
    response = _k_weighting(rate, size)
    step = (size - 2 * settle) // hop * hop
    energies = []
    for first in range(0, max(len(channel) // hop * hop, 1), step):
        before = min(first, settle)
        part = channel[first - before : first + step]
        power = np.square(np.fft.irfft(np.fft.rfft(part, size) * response, size)[before : len(part)])
        if len(power) >= hop:
            power = power[: len(power) // hop * hop].reshape(-1, hop)
        energies.append(np.atleast_2d(power).sum(1))
    return np.concatenate(energies) if channel.size else np.zeros(0)


@lru_cache(2)
def _k_weighting(rate: int, size: int) -> np.ndarray:
    """What the two filters of BS.1770 (head shelf, low cut) do to the frequencies of a transform: complex [size / 2 +
    1].

    For any rate, by the bilinear transform of their analogue forms. A transform needs no more than numpy; scipy's
    filters take a second to load.
    """
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    response = np.ones_like(z)
    for hz, q, gain_db in (
        (1681.974450955533, 0.7071752369554196, 3.999843853973347),
        (38.13547087602444, 0.5003270373238773, None),
    ):
        k = np.tan(np.pi * min(hz, 0.45 * rate) / rate)
        a0 = 1 + k / q + k * k
        a = np.array([1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])
        if gain_db is None:
            b = np.array([1.0, -2.0, 1.0])
        else:
            high = 10 ** (gain_db / 20)
            band = high**0.4996667741545416
            b = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]) / a0
        response *= np.polynomial.polynomial.polyval(z, b) / np.polynomial.polynomial.polyval(z, a)
    return response


def match_gain(audio: np.ndarray, rate: int, target: float, most_db: float = MOST_GAIN, channels: int = 1) -> float:
    """The gain in dB, at most `most_db`, that brings audio to a loudness of `target` LUFS; 0 for silence.

    channels: in how many channels one channel [N] or [1, N] will sound (see `spread`): its loudness is measured as
    that.
    """
    now = loudness(spread(audio, channels) if len(np.atleast_2d(audio)) == 1 else audio, rate)
    return min(target - now, most_db) if np.isfinite(now) and np.isfinite(target) else 0.0


def match_level(
    audio: np.ndarray, rate: int, target: float, most_db: float = MOST_GAIN, channels: int = 1
) -> np.ndarray:
    """Audio scaled by `match_gain`."""
    gain_db = match_gain(audio, rate, target, most_db, channels)
    return audio * np.float32(10 ** (gain_db / 20)) if gain_db else audio


def spread(audio: np.ndarray, channels: int) -> np.ndarray:
    """A stem [N] or [C, N] as it sounds in a song of so many channels: in the first two, or in one, where a stem of two
    is their mean. Returns [1 or 2, N], a view where it can."""
    audio = np.atleast_2d(audio)
    if len(audio) > 1:
        return audio if channels > 1 else audio.mean(0, keepdims=True)
    return np.broadcast_to(audio, (min(2, channels), audio.shape[1]))


def limit(audio: np.ndarray, rate: int, ceiling: float = CEILING) -> np.ndarray:
    """Bring peaks of audio [C, N] or [N] to the ceiling without clipping; unchanged where there are none.

    One gain for all channels: the smallest needed within 20 ms, smoothed over as long. A mean of
    minima that all include a sample is never above what that sample needs.
    """
    if max(audio.max(initial=0.0), -audio.min(initial=0.0)) <= ceiling:
        return audio
    limited = np.empty_like(audio)
    for first, gain in _limiter_gains(audio, rate, ceiling):
        # The clip takes care of the last bit of rounding only.
        part = slice(first, first + len(gain))
        limited[..., part] = np.clip(audio[..., part] * gain, -ceiling, ceiling)
    return limited


def limiter_gain(audio: np.ndarray, rate: int, ceiling: float = CEILING) -> np.ndarray:
    """The gain float32 [N] that `limit` gives audio [C, N] or [N], for sounds that are to be turned down with it."""
    if max(audio.max(initial=0.0), -audio.min(initial=0.0)) <= ceiling:
        return np.ones(audio.shape[-1], np.float32)
    return np.concatenate([gain for _, gain in _limiter_gains(audio, rate, ceiling)])


def _limiter_gains(audio: np.ndarray, rate: int, ceiling: float) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, gains float32 [n]) of each block."""
    half = round(0.01 * rate)
    for first in range(0, audio.shape[-1], BLOCK):
        # What a block's gain depends on reaches two half windows over its edges.
        low, high = max(0, first - 2 * half), first + BLOCK + 2 * half
        peak = np.abs(np.atleast_2d(audio[..., low:high])).max(0)
        yield first, _limiter_gain(peak, 2 * half + 1, ceiling)[first - low : first - low + BLOCK]


def _limiter_gain(peak: np.ndarray, size: int, ceiling: float) -> np.ndarray:
    """Gain [N] float32 for the peaks [N], with windows of `size` samples."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    need = np.minimum(1.0, ceiling / np.maximum(peak, ceiling))
    lowest = minimum_filter1d(need, size, mode="nearest").astype(np.float64)
    return uniform_filter1d(lowest, size, mode="nearest").astype(np.float32)


def mix_gain(song: np.ndarray, stem: np.ndarray) -> float:
    """The gain in dB, 0 or less, that brings song [C, N] and stem [N] or [C, N] together below the ceiling."""
    together = np.abs(song[:2] + spread(stem, len(song))).max(initial=0.0)
    peak = max(float(np.abs(song[2:]).max(initial=0.0)), float(together))
    return min(0.0, float(20 * np.log10(CEILING / max(peak, CEILING))))


def mix(song: np.ndarray, stem: np.ndarray) -> np.ndarray:
    """One gain (that of `mix_gain`) x (song + stem), float32 [C, N].

    song: [C, N]. stem: [N] or [C, N], added to the first two channels (all, if there are no more), see `spread`.
    """
    both = np.array(song, dtype=np.float32)
    both[:2] += spread(stem, len(song))
    gain_db = mix_gain(song, stem)
    return both * np.float32(10 ** (gain_db / 20)) if gain_db else both
