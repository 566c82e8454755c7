"""From a request to what the model is given: contexts, beats, the level of the stem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stage import audio as sound
from stage.audio.level import loudness
from stage.beats.find import Tracking, find
from stage.beats.grid import BeatGrid, click_track
from stage.generation.request import Grid, Metronome, Request

STEM_LEVEL = -4.0
"""Loudness of a stem against the song it joins, in LU."""
CLICK_STEM_LUFS = -18.0
"""Loudness of a stem that was made for a metronome."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a request comes to.

    contexts: kind -> mono float32 [N] at the codec's rate. grid: the beats that the model is given, None if none.
    notes: sentences about what is done otherwise than asked.
    """

    contexts: dict[str, np.ndarray]
    grid: BeatGrid | None = None
    notes: tuple[str, ...] = ()


def prepare(request: Request, kinds: Sequence[str], rate: int) -> Prepared:
    """Find the contexts; may track beats.

    request: complete (`stage.pipeline.Stage.complete`). kinds: of contexts that the model takes. rate: of its codec.
    """
    source = request.source
    seconds = source.audio.shape[1] / source.rate
    if isinstance(source, Metronome):
        return Prepared({"grid" if "grid" in kinds else "mix": click_track(source.grid, seconds, rate)}, source.grid)
    beats, notes = _beats(request.grid, source.audio, source.rate)
    contexts = {"mix": sound.resample(sound.to_mono(source.audio), source.rate, rate)}
    if beats is not None:
        contexts["grid"] = click_track(beats, seconds, rate)
    return Prepared(contexts, beats, notes)


def target_level(request: Request) -> float:
    """Loudness in LUFS that the stem of a request is to have."""
    if isinstance(request.source, Metronome):
        return CLICK_STEM_LUFS
    return loudness(request.source.audio, request.source.rate) + STEM_LEVEL


def _beats(grid: Grid, song: np.ndarray, rate: int) -> tuple[BeatGrid | None, tuple[str, ...]]:
    """The beats to give to the model, tracked where they are not given, and what there is to say about them."""
    if isinstance(grid, BeatGrid):
        return grid, ()
    if grid == "off":
        return None, ()
    if isinstance(grid, str):
        grid = Tracking(octave=None if grid == "on" else grid)
    found = find(song, rate, grid)
    return found.grid, found.notes
