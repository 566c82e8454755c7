"""What is asked for: a `Request`, checked without a model, so that a mistake is reported before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

import numpy as np
from numpy.typing import ArrayLike

from stage import audio as sound
from stage.audio.files import check_rate
from stage.audio.level import SILENCE
from stage.beats.find import Tracking
from stage.beats.grid import TEMPO_RANGE, BeatGrid, beats_per_bar, click_track, division
from stage.chords import reading as chords
from stage.chords.chart import Chart
from stage.errors import StageError
from stage.generation.performance import NEUTRAL, Performance

if TYPE_CHECKING:
    from stage.generation.decoding import Sampling

SECONDS_RANGE = (1.0, 600.0)
"""Shortest and longest stretch that is accompanied in one go; the upper end bounds the memory."""
VARIATIONS_MOST = 64
SEED_MOST = 2**62
CLICK_GAIN = 0.25
"""Level of the clicks under a stem that was made for a metronome."""

Grid = Union[Literal["on", "off", "half", "double"], Tracking, BeatGrid, None]
"""Whether the model gets the clicks of the beats besides the recording, or which: "on" for the tracked ones, "half" or
"double" for every second of them or twice as many, `stage.beats.find.Tracking` for a metre or a range of tempi, None
for what suits the model."""


CANDIDATES = 2
"""Of a region that is played anew. Four made what follows little likelier, and nothing else better
(benchmarks/following.py)."""

Form = tuple[tuple[str, int], ...]
"""Names of sections, and the bars in which they begin, from 1 on, rising. Without any no form is known."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A stretch of music to play to. audio: float32 [C, N] at `rate` Hz. start: where it begins in the whole recording,
    in seconds."""

    audio: np.ndarray
    rate: int
    start: float = 0.0


@dataclass(frozen=True, eq=False)
class Metronome:
    """A tempo to play to. rate: Hz of the results, None for the model's own. channels: of the results.

    beats, length: beats of any kind and the seconds that they cover, in place of so many regular bars.
    Raises StageError for what cannot be.
    """

    bpm: float
    meter: str = "4/4"
    bars: int = 8
    rate: int | None = None
    channels: int = 1
    beats: BeatGrid | None = None
    length: float | None = None

    def __post_init__(self) -> None:
        check_seconds(self.seconds)
        if self.rate is not None:
            check_rate(self.rate, "the result")

    @property
    def seconds(self) -> float:
        """Length of all bars."""
        if self.beats is not None and self.length is not None:
            return self.length
        return click_seconds(self.bpm, self.meter, self.bars)

    @property
    def grid(self) -> BeatGrid:
        """Its beats, divided as they are clicked."""
        if self.beats is not None and self.length is not None:
            return self.beats
        parts = division(self.meter, self.bpm)
        return BeatGrid.regular(self.bpm, beats_per_bar(self.meter), self.seconds, division=parts)

    @cached_property
    def audio(self) -> np.ndarray:
        """Its clicks, softly: float32 [C, N] at `rate` Hz, which must be chosen."""
        if self.rate is None:
            raise StageError("the clicks of a metronome need a rate: choose one, like Metronome(120, rate=48000)")
        clicks = click_track(self.grid, self.seconds, self.rate)
        soft = CLICK_GAIN * sound.fit(clicks, round(self.seconds * self.rate))
        return np.repeat(soft[None], self.channels, axis=0)


@dataclass(frozen=True, eq=False)
class Request:
    """A stem that is to be made, and for what; `stage.pipeline.Stage.make` and `make_stream` take it.

    stem: name of the instrument. source: what it is made for. prompt: style in words.
    seeds: one for each variation. grid: see `Grid`; the times of a BeatGrid count from the beginning of the source.
    sampling: values by name in place of the model's own, None: the model's.
    level: match the stem's loudness to that of the source and keep it below full scale.
    tuning: of the source, in cents from A = 440 Hz, None: estimated. rest: let the stem rest where the source is
        silent for a bar or more.
    chords: what sounds, as text, as a file or as a chart whose times count from the recording's beginning
        (`stage.chords.reading.read`); None: what the model hears. performance: how the part is played. form: sections,
        of which those of one name are played alike (`stage.generation.sections`). These are for models of events.
    """

    stem: str
    source: Recording | Metronome
    prompt: str = ""
    seeds: tuple[int, ...] = (0,)
    grid: Grid = None
    sampling: Sampling | Mapping[str, Any] | None = None
    level: bool = True
    tuning: float | None = None
    rest: bool = True
    chords: str | Path | Chart | None = None
    performance: Performance = NEUTRAL
    form: Form = ()

    def __post_init__(self) -> None:
        firsts = [bar for _, bar in self.form]
        if firsts and (firsts[0] < 1 or firsts != sorted(set(firsts))):
            raise StageError("the sections of a form begin in bars that rise, from 1 on")
        if isinstance(self.chords, (str, Path)):
            chords.check(self.chords)
        if isinstance(self.sampling, Mapping):
            check_sampling(**self.sampling)
        if isinstance(self.grid, str) and self.grid not in ("on", "off", "half", "double"):
            raise StageError(f'the grid is "on", "off", "half", "double", a BeatGrid or a Tracking, not "{self.grid}"')

    @property
    def rate(self) -> int:
        """Hz of the source and of the results. Raises StageError where it is left to the model, until it is completed
        (`stage.pipeline.Stage.complete`)."""
        if self.source.rate is None:
            raise StageError("the rate of this metronome is the model's: complete the request with Stage.complete")
        return self.source.rate

    @classmethod
    def recording(
        cls,
        audio: ArrayLike,
        rate: int,
        stem: str,
        prompt: str = "",
        start: float = 0.0,
        seconds: float | None = None,
        variations: int = 1,
        seed: int = 0,
        grid: Grid = None,
        tuning: float | str | None = None,
        **rest,
    ) -> Request:
        """A stem for a stretch of a recording: see `stage.pipeline.Stage.accompany` for the arguments."""
        source = stretch(audio, rate, start, seconds)
        if isinstance(grid, BeatGrid):
            grid = grid.crop(start, start + source.audio.shape[1] / source.rate)
            if not len(grid):
                raise StageError(
                    "the beat grid has no beat within the chosen stretch: its times count from the beginning of the"
                    " recording"
                )
        return cls(stem, source, prompt, seeds_of(variations, seed), grid, tuning=tuning_cents(tuning), **rest)

    @classmethod
    def metronome(
        cls,
        bpm: float,
        stem: str,
        meter: str = "4/4",
        bars: int = 8,
        prompt: str = "",
        variations: int = 1,
        seed: int = 0,
        rate: int | None = None,
        **rest,
    ) -> Request:
        """A stem for a metronome: see `stage.pipeline.Stage.click` for the arguments."""
        return cls(stem, Metronome(bpm, meter, bars, rate), prompt, seeds_of(variations, seed), **rest)


def tuning_cents(tuning: float | str | None) -> float | None:
    """A tuning as cents from A = 440 Hz, -50..50 (a whole semitone is another key, not another tuning).

    tuning: cents from -100 to 100, or the frequency of A in Hz (400 to 480), "off" for 440 Hz; None or "auto": None.
    Raises StageError for anything else.
    """
    if tuning is None or tuning == "auto":
        return None
    if tuning == "off":
        return 0.0
    try:
        value = float(tuning)
    except (TypeError, ValueError):
        value = math.nan
    if 400 <= value <= 480:
        value = 1200 * math.log2(value / 440)
    elif not -100 <= value <= 100:
        raise StageError(f"the tuning cannot be {tuning}: choose auto, off, or the frequency of A, like 442")
    return value - 100 * round(value / 100)


def seeds_of(variations: int, seed: int) -> tuple[int, ...]:
    """The seeds of so many variations; StageError for a number of them or a seed that cannot be."""
    check_many(variations, seed)
    return tuple(range(seed, seed + variations))


def performance_of(given: Performance | Mapping[str, Any] | None) -> Performance:
    """A performance as it is given, or by the names of its values. Raises StageError for a name that is not known."""
    if isinstance(given, Performance):
        return given
    known = [field.name for field in fields(Performance)]
    if unknown := [name for name in given or {} if name not in known]:
        raise StageError(f"a performance has no '{unknown[0]}': it has {', '.join(known)}")
    return Performance(**(given or {}))


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
            f"{seconds:.6g} seconds are too long for one go: choose at most {high:g} with --start and --seconds"
        )


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
            f"{bars} bars at {bpm:g} BPM last {seconds:.6g} seconds: choose fewer, for at most {SECONDS_RANGE[1]:g}"
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


def stretch(audio: ArrayLike, rate: int, start: float, seconds: float | None) -> Recording:
    """The chosen part of a recording [C, N] or [N]; StageError if it is not there or of no use."""
    audio, rate = sound.check(audio, rate)
    check_range(start, seconds)
    length = audio.shape[1] / rate
    if start > 0 and start >= length:
        raise StageError(f"cannot start at {start:g} seconds: the recording ends at {length:.2f} seconds")
    first = round(start * rate)
    last = audio.shape[1] if seconds is None else first + round(seconds * rate)
    check_end(length, last / rate)
    part = audio[:, first:last]
    check_seconds(part.shape[1] / rate)
    if not np.isfinite(part).all():
        raise StageError("the recording is damaged: some of its samples are not numbers (NaN or infinite)")
    if np.abs(sound.to_mono(part)).max() < SILENCE:
        raise StageError(
            "the chosen stretch is silent: there is nothing to follow. Choose another with --start and --seconds"
        )
    return Recording(part, rate, first / rate)


def check_end(length: float, wanted: float) -> None:
    """Raise StageError if a range of a recording of `length` seconds reaches to `wanted`, beyond its end."""
    if wanted > length + 0.001:
        raise StageError(
            f"the recording ends at {length:.2f} seconds, before {wanted:.2f}: leave out --seconds to go to the end"
        )
