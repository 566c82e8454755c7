"""The beats of a recording: `find`, with the options of `Tracking`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from stage.beats.choose import choose
from stage.beats.grid import BeatGrid, beats_per_bar, division
from stage.beats.tracker import DOUBTFUL, MODEL, UNUSUAL, track_with_confidence
from stage.errors import StageError

TEMPI = (20.0, 400.0)
"""Tempi in beats a minute between which a range can be chosen."""
WIDEST = 8.0
"""Most times by which the upper end of a range may exceed the lower one."""

UNCLEAR = (
    "the recording has no clear beat, so the tracked one may be wrong: leave it out with --grid off, or give the"
    " beats with --grid FILE"
)
NONE = "no beats were found in the recording: the model follows the sound alone"


@dataclass(frozen=True)
class Tracking:
    """How the beats of a recording are tracked. Raises StageError for what cannot be.

    meter: like "5/4" or "6/8", None for what fits best. tempo_range: lowest and highest tempo in beats a minute (in
        6/8, 9/8 and 12/8 dotted quarters), None for the tracker's own. octave: "half" takes every second of the
        tracked beats, "double" adds one between any two, each with as many to a bar as before.
    tracker: see `stage.beats.choose.choose`; with a metre or a range of tempi always the package's own.
    """

    meter: str | None = None
    tempo_range: tuple[float, float] | None = None
    octave: Literal["half", "double"] | None = None
    tracker: str = "auto"

    def __post_init__(self) -> None:
        if self.meter is not None:
            beats_per_bar(self.meter)
        if self.octave not in (None, "half", "double"):
            raise StageError(f'beats are tracked at "half" or "double" tempo, not "{self.octave}"')
        if self.tempo_range is not None:
            low, high = self.tempo_range
            if not (TEMPI[0] <= low < high <= TEMPI[1] and high <= WIDEST * low):
                raise StageError(
                    f"a range of tempi from {low:g} to {high:g} cannot be searched: choose two from {TEMPI[0]:g} to"
                    f" {TEMPI[1]:g}, the lower one first and at most {WIDEST:g} times lower, like 60-120"
                )


@dataclass(frozen=True, eq=False)
class Found:
    """grid: the beats, None where there are fewer than two. confidence: 0..1 (`stage.beats.tracker.Tracked`), None
    where the tracker has none. notes: sentences for the user about what was found."""

    grid: BeatGrid | None
    confidence: float | None = None
    notes: tuple[str, ...] = ()


def tempo_range(text: str) -> tuple[float, float]:
    """(lowest, highest) tempo of a range written like "60-120". Raises StageError for anything else."""
    try:
        low, high = (float(part) for part in text.split("-"))
    except ValueError:
        raise StageError(f'"{text}" is not a range of tempi: write it like 60-120') from None
    return Tracking(tempo_range=(low, high)).tempo_range


def find(audio: np.ndarray, rate: int, asked: Tracking = Tracking()) -> Found:
    """The beats of a recording, in bars that fit its chords too (`stage.chords.bars`).

    audio: float32 [C, N] or [N]; rate in Hz. Times count from the first sample.
    """
    # Here, not above: scipy takes long to import, and a request is checked without it.
    from stage.chords.bars import counted

    own = asked.meter is not None or asked.tempo_range is not None
    name, track = choose("stage" if own else asked.tracker)
    if name == "stage":
        bar = None if asked.meter is None else beats_per_bar(asked.meter)
        tracked = track_with_confidence(audio, rate, asked.tempo_range, bar)
        grid, confidence = tracked.grid, tracked.confidence
        if len(grid) > 1:
            usual = asked.meter is None and grid.beats_per_bar in MODEL.meters
            grid = counted(audio, rate, grid, tracked.downbeats, MODEL.meters if usual else None)
    else:
        grid, confidence = track(audio, rate), None
    if len(grid) < 2:
        return Found(None, confidence, (NONE,))
    notes = []
    if confidence is not None and confidence < DOUBTFUL:
        notes.append(UNCLEAR)
    elif asked.meter is None and (bar := grid.beats_per_bar) in UNUSUAL:
        notes.append(f"the recording is counted in {bar} beats a bar: choose others with --meter, like 4/4")
    if asked.octave:
        grid = (grid.half() if asked.octave == "half" else grid.double()).crop(0.0, audio.shape[-1] / rate)
    if asked.meter is not None:
        grid = replace(grid, division=division(asked.meter))
    return Found(grid, confidence, tuple(notes))
