"""What can be asked for: checks that need no model, so that a mistake is told before anything is loaded."""

from __future__ import annotations

import math

import numpy as np

from stage.audio.files import RATES
from stage.beats.grid import TEMPO_RANGE, beats_per_bar
from stage.errors import StageError

SECONDS_RANGE = (1.0, 600.0)
"""Shortest and longest stretch that is accompanied in one go; the upper end bounds the memory."""
VARIATIONS_MOST = 64
SEED_MOST = 2**62


def check_many(variations: int, seed: int) -> None:
    """Raise StageError for a number of variations or a seed that cannot be."""
    if not 1 <= variations <= VARIATIONS_MOST:
        raise StageError(f"{variations} variations cannot be made at once: choose 1 to {VARIATIONS_MOST}")
    if not 0 <= seed <= SEED_MOST:
        raise StageError(f"{seed} is not a seed: choose a whole number from 0 to 2^62")


def check_range(start: float, seconds: float | None) -> None:
    """Raise StageError for a range that fits in no recording."""
    if not 0 <= start < math.inf:
        raise StageError(f"cannot start at {start:g} seconds: 0 is the beginning of the recording")
    if seconds is not None:
        check_seconds(seconds)


def check_seconds(seconds: float) -> None:
    """Raise StageError for a length that is not accompanied in one go."""
    low, high = SECONDS_RANGE
    if not seconds >= low:
        raise StageError(f"{seconds:.3g} seconds are too short to follow: at least {low:g} is needed")
    if seconds > high:
        raise StageError(
            f"{seconds:.0f} seconds are too long for one go: choose at most {high:g} with --start and --seconds"
        )


def check_rate(rate: int) -> None:
    """Raise StageError for a sampling rate that no file of ours has."""
    if not RATES[0] <= rate <= RATES[1]:
        raise StageError(f"{rate} Hz is not a sampling rate: choose one from {RATES[0]} to {RATES[1]} Hz")


def click_seconds(bpm: float, meter: str, bars: int) -> float:
    """Length of a metronome piece; StageError for a tempo, metre or number of bars that cannot be played."""
    low, high = TEMPO_RANGE
    if not low <= bpm <= high:
        raise StageError(f"a tempo of {bpm:g} BPM is not playable: choose one from {low:g} to {high:g}")
    if bars < 1:
        raise StageError(f"{bars} bars cannot be played: choose 1 or more")
    seconds = bars * beats_per_bar(meter) * 60 / bpm
    if seconds > SECONDS_RANGE[1]:
        raise StageError(
            f"{bars} bars at {bpm:g} BPM last {seconds:.0f} seconds: choose fewer, for at most {SECONDS_RANGE[1]:g}"
            " seconds"
        )
    check_seconds(seconds)
    return seconds


def check_sampling(
    guidance: float | None = None,
    text_guidance: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    temperature: float | None = None,
) -> None:
    """Raise StageError for a sampling value out of its range; None is always fine."""
    ranges = {
        "guidance": (guidance, 0, 30),
        "text-guidance": (text_guidance, 0, 30),
        "top-k": (top_k, 0, 1_000_000),
        "top-p": (top_p, 0, 1),
        "temperature": (temperature, 0, 10),
    }
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:
            raise StageError(f"{name} cannot be {value:g}: choose a value from {low} to {high}")


def stretch(audio: np.ndarray, rate: int, start: float, seconds: float | None) -> np.ndarray:
    """The chosen part [C, N] of a recording [C, N] or [N]; StageError if it is not there or of no use."""
    audio = np.atleast_2d(np.asarray(audio, dtype=np.float32))
    if audio.ndim != 2:
        raise StageError(f"a recording has the shape [channels, samples] or [samples], not {list(audio.shape)}")
    check_rate(rate)
    check_range(start, seconds)
    length = audio.shape[1] / rate
    if start > 0 and start >= length:
        raise StageError(f"cannot start at {start:g} seconds: the recording ends at {length:.2f} seconds")
    first = round(start * rate)
    last = audio.shape[1] if seconds is None else first + round(seconds * rate)
    check_end(audio.shape[1] / rate, last / rate)
    part = audio[:, first:last]
    check_seconds(part.shape[1] / rate)
    if not np.isfinite(part).all():
        raise StageError("the recording is damaged: some of its samples are not numbers (NaN or infinite)")
    return part


def check_end(length: float, wanted: float) -> None:
    """Raise StageError if a range of a recording of `length` seconds reaches to `wanted`, beyond its end."""
    if wanted > length + 0.001:
        raise StageError(
            f"the recording ends at {length:.2f} seconds, before {wanted:.2f}: leave out --seconds to go to the end"
        )
