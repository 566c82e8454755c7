"""Where a stem is turned down over time: rests in a song's silence, and a short fade where it would end cut off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stage.audio.level import BLOCK, SILENCE
from stage.beats.grid import BeatGrid

FADE = 0.06
"""Seconds over which a stem goes into a rest, or ends within a bar: its last 10 ms are 45 dB down."""
BAR_FADE = 0.01
"""Seconds over which a stem ends at a bar line: too short to be audible when it is looped."""
ENTRY, LEAD = 0.02, 0.01
"""Seconds over which a stem comes back, and by which it is back before the song is."""
BAR_TOLERANCE = 0.03
"""Seconds by which tracked beats may miss the end of a bar."""
REST_SECONDS = 2.0
"""Least length of a silence in which the stem rests where the length of a bar is not known from beats."""


@dataclass(frozen=True)
class Envelope:
    """A gain over time: straight lines between points (sample, position 0..1), made smooth; 1 without points."""

    points: tuple[tuple[int, float], ...] = ()

    def apply(self, audio: np.ndarray, first: int = 0) -> np.ndarray:
        """Audio [.., n] that begins at sample `first`, with this gain: itself where that is 1 throughout."""
        if not self.points:
            return audio
        at, position = (np.array(column, np.float64) for column in zip(*self.points))
        shaped = None
        for low in range(0, audio.shape[-1], BLOCK):
            high = min(low + BLOCK, audio.shape[-1])
            ramp = np.interp(np.arange(first + low, first + high), at, position)
            if ramp.min() < 1:
                shaped = audio.copy() if shaped is None else shaped
                shaped[..., low:high] *= np.square(ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
        return audio if shaped is None else shaped


def silences(song: np.ndarray, rate: int, least: float) -> list[tuple[int, int]]:
    """Stretches (first, end) in samples, at least so many seconds long, in which all channels of [C, N] are silent."""
    loud = np.flatnonzero(np.abs(song).max(0) >= SILENCE)
    edges = np.concatenate([[-1], loud, [song.shape[1]]])
    gaps = np.flatnonzero(np.diff(edges) > max(1, round(least * rate)))
    return [(int(edges[gap]) + 1, int(edges[gap + 1])) for gap in gaps]


def rests(song: np.ndarray, rate: int, grid: BeatGrid | None) -> list[tuple[int, int]]:
    """Where the stem rests: stretches of silence of a bar or more, also before the song's first sound and after its
    last. A shorter pause is played through, as a drummer would."""
    bar = REST_SECONDS
    if grid is not None and len(grid) > 1:
        bar = grid.beats_per_bar * float(np.median(np.diff(grid.times)))
    return silences(song, rate, bar)


def envelope(samples: int, rate: int, pauses: list[tuple[int, int]], fade_seconds: float) -> Envelope:
    """The gain of a stem of so many samples that rests in `pauses` and ends with a fade."""
    points: list[tuple[int, float]] = []
    for first, end in pauses:
        if first > 0:
            points += [(first, 1.0), (first + round(FADE * rate), 0.0)]
        else:
            points += [(0, 0.0)]
        if end < samples:
            back = end - round(LEAD * rate)
            points += [(back - round(ENTRY * rate), 0.0), (back, 1.0)]
    if fade_seconds and not (pauses and pauses[-1][1] == samples):
        points += [(samples - round(fade_seconds * rate), 1.0), (samples, 0.0)]
    return Envelope(tuple(points))


def end_fade(grid: BeatGrid | None, seconds: float) -> float:
    """Seconds of the fade at the end of a stem of so many seconds: nearly none where a bar ends there."""
    if grid is None or len(grid) < 2:
        return FADE
    step = float(np.median(np.diff(grid.times)[-4:]))
    last, number = float(grid.times[-1]), int(grid.numbers[-1])
    on_line = number == 1 and abs(seconds - last) < BAR_TOLERANCE
    before_line = number == grid.beats_per_bar and abs(last + step - seconds) < BAR_TOLERANCE
    return BAR_FADE if on_line or before_line else FADE
