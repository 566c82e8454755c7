"""Beat grids and the metronome.

A grid holds the times of the beats and the place of each in its bar. It comes from a tempo (`BeatGrid.regular`), from
a recording (`stage.beats.find`) or from a text file, and is turned into a click track, which the model reads as a
context like any other.

Counting of compound metres: a beat is what a listener taps. 6/8 has two dotted-quarter beats a bar (bpm counts dotted
quarters), 9/8 three, 12/8 four; each beat is divided into three, and the eighths between the beats are clicked softly.
Without those, clicks of 6/8 are clicks of 2/4, and so is what the model plays to them. Slow beats of simple metres are
divided into two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stage.beats import grid_file
from stage.errors import StageError

TEMPO_RANGE = (20.0, 400.0)
"""Tempi, in beats a minute, that a grid can be made for."""

CLICK_HZ = 1000.0
CLICK_SECONDS = 0.1
SHORTEST_PART = 0.199
"""Seconds between clicks below which beats are not divided (100 beats a minute in 6/8): the sketch model loses the
beat in clicks that follow each other much faster."""
SOFT = 0.2
"""Level of the clicks between the beats, against those on them. Without them the sketch model's drums for 6/8, 9/8
and 12/8 (50 to 90 BPM, 6 seeds each) have onsets on the thirds of a beat of 0.4 to 1.0 times the mean strength, with
them of 1.9 to 2.4 times; 0.88 of the beats have an onset, before 0.82; the kick is louder on 1 in 27 of 30, before in
30. Louder ones give stronger thirds to slow beats, but lose beats from 90 BPM on."""
SLOW_BPM = 60.0
"""Tempo below which a metronome divides the beats of simple metres into two. The sketch model was trained on songs
from 60 BPM on; between clicks that are further apart it loses the beat."""


COUNT_MOST = 16
"""Bars of a count-in."""


@dataclass(frozen=True, eq=False)
class BeatGrid:
    """Beats of a stretch of music.

    times: float64 [n], seconds from the start of the stretch, strictly rising.
    numbers: int64 [n], position of each beat in its bar, 1 = downbeat.
    division: into how many equal parts a beat is divided by clicks: 3 in compound metres, else 1 (2 where a metronome
        is slow).
    """

    times: np.ndarray
    numbers: np.ndarray
    division: int = 1

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
    def regular(cls, bpm: float, beats_per_bar: int, seconds: float, start: float = 0.0, division: int = 1) -> BeatGrid:
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
        return cls(start + index * 60.0 / bpm, index % beats_per_bar + 1, division)

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

    @property
    def too_fast_to_divide(self) -> bool:
        """Whether beats are to be divided and none is slow enough for it (`SHORTEST_PART`)."""
        return self.division > 1 and len(self) > 1 and not len(_between(self))

    def crop(self, start: float, end: float) -> BeatGrid:
        """The beats in [start, end), their times relative to `start`."""
        inside = (self.times >= start) & (self.times < end)
        return BeatGrid(self.times[inside] - start, self.numbers[inside], self.division)

    def scale(self, factor: float) -> BeatGrid:
        """The same beats at times that are multiplied by `factor`: above 1 slower."""
        return replace(self, times=self.times * factor)

    def shift(self, seconds: float) -> BeatGrid:
        """The same beats, later by `seconds` (earlier if negative)."""
        return replace(self, times=self.times + seconds)

    def shift_beats(self, beats: int) -> BeatGrid:
        """The same times, with the downbeats `beats` beats later (earlier if negative)."""
        if not len(self):
            return self
        index = np.arange(len(self)) - beats
        inside = index.clip(0, len(self) - 1)
        onwards = (self.numbers[inside] + index - inside - 1) % max(1, self.beats_per_bar) + 1
        return replace(self, numbers=np.where(index == inside, self.numbers[inside], onwards))

    def counted_in(self, bars: int, rate: int) -> tuple[BeatGrid, int, BeatGrid]:
        """The beats after a count-in at the tempo of the first five beats: (all beats, from its beginning; its length
        in samples at `rate`; the beats before the first of this grid).

        It begins with a downbeat and has so many bars, and, where this grid begins within a bar, the rest of that bar.
        Raises StageError for other than 1 to 16 bars, and where fewer than two beats are known.
        """
        if not 1 <= bars <= COUNT_MOST:
            raise StageError(f"a count-in of {bars} bars cannot be made: choose 1 to {COUNT_MOST}")
        if len(self) < 2:
            raise StageError("there is nothing to count in: no beats are known")
        gap, ones = float(np.median(np.diff(self.times[:5]))), np.flatnonzero(self.numbers == 1)
        bar = int(ones[1] - ones[0]) if len(ones) > 1 else max(1, self.beats_per_bar)  # the first one's metre
        pickup = int(self.numbers[0]) - 1  # beats from the last downbeat at or before second 0 to the first of the grid
        pickup += bar * max(0, int(np.ceil((self.times[0] / gap - pickup - 1e-3) / bar)))
        before = np.arange(bars * bar + pickup, 0, -1)
        samples = round((len(before) * gap - self.times[0]) * rate)
        later = self.times + samples / rate
        counted = BeatGrid(np.maximum(later[0] - gap * before, 0.0), (pickup - before) % bar + 1, self.division)
        whole = np.append(counted.times, later), np.append(counted.numbers, self.numbers)
        return BeatGrid(*whole, self.division), samples, counted

    def half(self) -> BeatGrid:
        """Every second beat, as many to a bar as before: for beats that were found at twice the tempo.

        Two bars become one, from the first downbeat on.
        """
        starts = np.flatnonzero(self.numbers == 1)[::2]
        if not len(starts):
            kept = self.numbers % 2 == 1
            return replace(self, times=self.times[kept], numbers=(self.numbers[kept] + 1) // 2)
        first, bar = starts[0], max(1, self.beats_per_bar)
        before = np.arange(first % 2, first, 2)
        pairs = [np.arange(start, end, 2) for start, end in zip(starts, [*starts[1:], len(self)])]
        numbers = [(before - first) // 2 % bar + 1, *(np.arange(len(pair)) + 1 for pair in pairs)]
        return replace(self, times=self.times[np.concatenate([before, *pairs])], numbers=np.concatenate(numbers))

    def double(self) -> BeatGrid:
        """A beat more between any two and after the last, as many to a bar as before: for half the tempo."""
        if len(self) < 2:
            return self
        gaps, bar = np.diff(self.times), max(1, self.beats_per_bar)
        times = np.stack([self.times, self.times + np.append(gaps, gaps[-1]) / 2], axis=1).ravel()
        starts = np.flatnonzero(self.numbers == 1)
        if not len(starts):
            starts = np.array([1 - self.numbers[0]])  # before the grid
        lengths = np.append(np.diff(starts), bar)
        place = np.searchsorted(starts, np.arange(len(self)), "right") - 1
        beat = 2 * (np.arange(len(self)) - starts[place.clip(0)])
        each = lengths[place.clip(0)]
        return replace(self, times=times, numbers=np.stack([beat % each + 1, (beat + 1) % each + 1], axis=1).ravel())

    def save(self, path: str | Path) -> None:
        """A text file, one "seconds number" a line, with a comment where beats are divided.

        The caller decides whether the path may be overwritten.
        """
        head = f"# parts of a beat: {self.division}\n" if self.division > 1 else ""
        lines = (f"{time:.6f} {number}\n" for time, number in zip(self.times, self.numbers))
        Path(path).write_text(head + "".join(lines), encoding="ascii")

    @classmethod
    def load(cls, path: str | Path) -> BeatGrid:
        """Read a text file of beats, one "seconds number" a line: see `stage.beats.grid_file` for what is understood.

        Raises StageError, one line that names the file, for anything else.
        """
        path = Path(path)
        grids: list[BeatGrid] = []
        refused = None
        lines, parts = grid_file.rows(path)
        for times, numbers in grid_file.readings(path, lines):
            try:
                grid = cls(times, numbers, parts)
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

    A 1 kHz sine that halves ten times in 0.1 s starts on the sample nearest to each beat; with accents the downbeats
    are doubled and then clipped, which makes them louder and brighter (the training protocol of STAGE). Where beats
    are divided, softer ones stand between them.
    """
    length = round(seconds * rate)
    click_length = round(CLICK_SECONDS * rate)
    step = np.arange(click_length)
    click = np.sin(2 * np.pi * CLICK_HZ / rate * step) * 2.0 ** (-10 * step / click_length)
    track = np.zeros(length)
    gains = np.where(grid.numbers == 1, 2.0 if accents else 1.0, 1.0)
    for time, gain in [*zip(grid.times, gains), *((time, SOFT) for time in _between(grid))]:
        start = round(time * rate)
        if not 0 <= start < length:
            continue
        end = min(length, start + click_length)
        track[start:end] += gain * click[: end - start]
    return np.clip(track, -1, 1).astype(np.float32)


def _between(grid: BeatGrid) -> np.ndarray:
    """float64 [m], the times at which beats that are slow enough are divided; the last beat is as long as its
    neighbour."""
    if grid.division < 2 or len(grid) < 2:
        return np.zeros(0)
    gaps = np.diff(grid.times)
    gaps = np.append(gaps, gaps[-1])
    slow = gaps / grid.division >= SHORTEST_PART
    parts = np.arange(1, grid.division) / grid.division
    return (grid.times[slow, None] + gaps[slow, None] * parts).ravel()


def beats_per_bar(meter: str) -> int:
    """Beats a bar of a metre written as "4/4", "3/4" or "6/8" (compound metres: see the module's docstring)."""
    return _metre(meter)[0]


def division(meter: str, bpm: float = SLOW_BPM) -> int:
    """Parts of a beat that a metronome clicks in this metre: 3 if compound, 2 in others below `SLOW_BPM`, else 1."""
    parts = _metre(meter)[1]
    return 2 if parts == 1 and bpm < SLOW_BPM else parts


def _metre(meter: str) -> tuple[int, int]:
    """(beats a bar, parts of a beat)."""
    try:
        upper, lower = (int(part) for part in meter.split("/"))
    except ValueError:
        raise StageError(f'"{meter}" is not a metre: write it like 4/4, 3/4 or 6/8') from None
    if not 1 <= upper <= 16 or lower not in (1, 2, 4, 8, 16):
        raise StageError(f'"{meter}" is not a metre: write it like 4/4, 3/4 or 6/8')
    return counted(upper, lower)


def counted(upper: int, lower: int) -> tuple[int, int]:
    """(beats a bar, parts of a beat) of a metre: 6/8 is (2, 3), as it is counted everywhere here."""
    compound = lower >= 8 and upper % 3 == 0 and upper > 3
    return (upper // 3, 3) if compound else (upper, 1)


def seconds_to_frames(seconds: float, frame_rate: float) -> int:
    """Codec frames that cover a length: rounded up, but for what is only rounding error."""
    return int(np.ceil(seconds * frame_rate - 1e-6))
