"""A finished stem with what it was made for, at the level of the song it joins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stage.audio.level import limit, match_level, mix
from stage.beats.grid import BeatGrid
from stage.generation.prepare import Prepared, target_level
from stage.generation.request import Request


@dataclass(frozen=True, eq=False)
class Accompaniment:
    """Stems and what they were made for, all at the same rate and on the same time line.

    stem: name of the instrument.
    stems: float32 [V, N], one mono stem for each seed, level matched to the song and never above full scale
        unless asked for plain (`level=False`).
    song: float32 [C, N], the chosen stretch of the recording (or the metronome).
    rate: Hz of both.
    seeds: V integers; each makes its stem again, alone or among others.
    grid: the beats that the model was given, None if none.
    notes: sentences about what was done otherwise than asked.
    """

    stem: str
    stems: np.ndarray
    song: np.ndarray
    rate: int
    seeds: tuple[int, ...]
    grid: BeatGrid | None = None
    notes: tuple[str, ...] = ()

    def mix(self, variation: int = 0) -> np.ndarray:
        """Song and stem together: float32 [C, N], limited where the sum would be above full scale."""
        return mix(self.song, self.stems[variation], self.rate)


def finish(request: Request, prepared: Prepared, stems: np.ndarray) -> Accompaniment:
    """The result of a request: stems [V, N] as the model made them, at the song's rate; brought to its level if
    asked."""
    source = request.source
    if request.level:
        target = target_level(request)
        stems = np.stack([limit(match_level(stem, source.rate, target), source.rate) for stem in stems])
    return Accompaniment(request.stem, stems, source.audio, source.rate, request.seeds, prepared.grid, prepared.notes)
