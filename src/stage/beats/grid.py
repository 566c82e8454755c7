"""Beat grids and the metronome.

A grid is what the whole project means by rhythm: the times of the beats and the place of each in its
bar. It comes from a tempo (`BeatGrid.regular`), from a recording (`stage.beats.tracker.track`) or from a text
file, and is turned into a click track that the model reads as a context like any other.

Counting of compound metres: a beat is what a listener taps. 6/8 is two dotted-quarter beats a bar
(`beats_per_bar=2`, bpm counts dotted quarters), 12/8 four, 9/8 three. Who wants every eighth clicked
makes the grid with `beats_per_bar=6` and three times the tempo.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stage.beats import grid_file
from stage.errors import StageError

TEMPO_RANGE = (20.0, 400.0)
"""Tempi, in beats a minute, that a grid can be made for."""

CLICK_HZ = 1000.0
CLICK_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class BeatGrid:
    """Beats of a stretch of music.

    times: float64 [n], seconds from the start of the stretch, strictly rising.
    numbers: int64 [n], position of each beat in its bar, 1 = downbeat.
    """

    times: np.ndarray
    numbers: np.ndarray

    def __post_init__(self) -> None:
        times = np.atleast_1d(np.asarray(self.times, dtype=np.float64))
        numbers = np.atleast_1d(np.asarray(self.numbers, dtype=np.int64))
        if times.ndim != 1 or times.shape != numbers.shape:
            raise StageError(
                f"a beat grid needs one number for each time: {times.shape} times, {numbers.shape} numbers"
            )
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise StageError("the times of a beat grid must be finite and rising")
        if (numbers < 1).any():
            raise StageError("the numbers of a beat grid count from 1, the downbeat")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "numbers", numbers)

    @classmethod
    def empty(cls) -> BeatGrid:
        """The grid of music without beats."""
        return cls(np.zeros(0), np.zeros(0))

    @classmethod
    def regular(cls, bpm: float, beats_per_bar: int, seconds: float, start: float = 0.0) -> BeatGrid:
        """Beats at a steady tempo from `start` (a downbeat) on, those before `seconds`."""
        low, high = TEMPO_RANGE
        if not low <= bpm <= high:
            raise StageError(f"a tempo of {bpm:g} BPM is not playable: choose one from {low:g} to {high:g}")
        if not 1 <= beats_per_bar <= 16:
            raise StageError(f"{beats_per_bar} beats a bar is not a metre: choose 1 to 16")
        if not np.isfinite(start):
            raise StageError(f"the first beat cannot stand at {start} seconds")
        # The small allowance keeps a beat out that falls on the end but for rounding.
        count = max(0, int(np.ceil((seconds - start) * bpm / 60 - 1e-6)))
        index = np.arange(count)
        return cls(start + index * 60.0 / bpm, index % beats_per_bar + 1)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def downbeats(self) -> np.ndarray:
        """float64 [bars], seconds of the downbeats."""
        return self.times[self.numbers == 1]

    @property
    def beats_per_bar(self) -> int:
        """The most common length of the whole bars; the highest number where there is no whole bar; 0 if empty."""
        starts = np.flatnonzero(self.numbers == 1)
        if len(starts) > 1:
            return int(np.bincount(np.diff(starts)).argmax())
        return int(self.numbers.max(initial=0))

    @property
    def bpm(self) -> float:
        """Tempo of the whole grid in beats a minute; nan with fewer than two beats.

        A line through beat number against time, so the tempo is finer than the grain of the times;
        a missing beat is counted as such.
        """
        if len(self) < 2:
            return float("nan")
        gaps = np.diff(self.times)
        index = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(gaps / np.median(gaps))))])
        return float(60.0 / np.polyfit(index, self.times, 1)[0])

    def crop(self, start: float, end: float) -> BeatGrid:
        """The beats in [start, end), their times relative to `start`."""
        inside = (self.times >= start) & (self.times < end)
        return BeatGrid(self.times[inside] - start, self.numbers[inside])

    def shift(self, seconds: float) -> BeatGrid:
        """The same beats, later by `seconds` (earlier if negative)."""
        return BeatGrid(self.times + seconds, self.numbers)

    def save(self, path: str | Path) -> None:
        """A text file, one "seconds number" a line. The caller decides whether the path may be overwritten."""
        lines = (f"{time:.6f} {number}\n" for time, number in zip(self.times, self.numbers))
        Path(path).write_text("".join(lines), encoding="ascii")

    @classmethod
    def load(cls, path: str | Path) -> BeatGrid:
        """Read a text file of beats, one "seconds number" a line: see `stage.beats.grid_file` for what is understood.

        Raises StageError, one line that names the file, for anything else.
        """
        path = Path(path)
        grids: list[BeatGrid] = []
        refused = None
        for times, numbers in grid_file.readings(path, grid_file.rows(path)):
            try:
                grid = cls(times, numbers)
            except StageError as error:
                refused = error
                continue
            if not any(np.array_equal(grid.times, g.times) and np.array_equal(grid.numbers, g.numbers) for g in grids):
                grids.append(grid)
        if not grids:
            raise StageError(f"{path}: {refused}")
        if len(grids) > 1:
            raise StageError(
                f'{path} can be read in {len(grids)} ways: write "seconds number" a line, with a decimal point and a'
                " blank between the two"
            )
        grid_file.check_unit(path, grids[0].times)
        return grids[0]


def click_track(grid: BeatGrid, seconds: float, rate: int = 32000, accents: bool = True) -> np.ndarray:
    """The metronome of a grid: float32 [round(seconds * rate)], within [-1, 1].

    A 1 kHz sine that halves ten times in 0.1 s starts on the sample nearest to each beat; with
    accents the downbeats are doubled and then clipped, which makes them louder and brighter
    (the training protocol of STAGE).
    """
    length = round(seconds * rate)
    click_length = round(CLICK_SECONDS * rate)
    step = np.arange(click_length)
    click = np.sin(2 * np.pi * CLICK_HZ / rate * step) * 2.0 ** (-10 * step / click_length)
    track = np.zeros(length)
    for time, number in zip(grid.times, grid.numbers):
        start = round(time * rate)
        if not 0 <= start < length:
            continue
        end = min(length, start + click_length)
        track[start:end] += (2.0 if accents and number == 1 else 1.0) * click[: end - start]
    return np.clip(track, -1, 1).astype(np.float32)


def beats_per_bar(meter: str) -> int:
    """Beats a bar of a metre written as "4/4", "3/4" or "6/8" (compound metres: see the module's docstring)."""
    try:
        upper, lower = (int(part) for part in meter.split("/"))
    except ValueError:
        raise StageError(f'"{meter}" is not a metre: write it like 4/4, 3/4 or 6/8') from None
    if not 1 <= upper <= 16 or lower not in (1, 2, 4, 8, 16):
        raise StageError(f'"{meter}" is not a metre: write it like 4/4, 3/4 or 6/8')
    compound = lower >= 8 and upper % 3 == 0 and upper > 3
    return upper // 3 if compound else upper


def seconds_to_frames(seconds: float, frame_rate: float) -> int:
    """Codec frames that cover a length: rounded up, but for what is only rounding error."""
    return int(np.ceil(seconds * frame_rate - 1e-6))
