"""A finished stem with what it was made for, at the level of the song it joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stage.audio.level import limit, loudness, match_level, mix, mix_gain, spread
from stage.beats.grid import BeatGrid
from stage.generation.outputs import Outputs, write
from stage.generation.played import Take
from stage.generation.prepare import Prepared, target_level
from stage.generation.request import Request
from stage.notes import Note

MISSED = 0.5
"""LU by which a stem may miss its level without a remark."""


@dataclass(frozen=True, eq=False, repr=False)
class Accompaniment:
    """Stems and what they were made for, all at the same rate and on the same time line.

    stem: name of the instrument.
    stems: float32, one stem for each seed, level matched to the song and never above full scale unless asked for plain
        (`level=False`): [V, N] mono from a model of audio codes, [V, C, N] from one that plays events, stereo where the
        song is.
    song: float32 [C, N], the chosen stretch of the recording (or the metronome).
    rate: Hz of both.
    seeds: V integers; each makes its stem again, alone or among others.
    grid: the beats that the model was given, None if none.
    remarks: sentences about what was done otherwise than asked.
    tuning: of the song, in cents from A = 440 Hz; the stem has it too.
    notes: the played notes of each variation, in seconds of the stretch; empty from a model of audio codes.
    instruments: of each variation, by the names of `stage.models.event_stems.INSTRUMENTS` or a file's.
    """

    stem: str
    stems: np.ndarray
    song: np.ndarray
    rate: int
    seeds: tuple[int, ...]
    grid: BeatGrid | None = None
    remarks: tuple[str, ...] = ()
    tuning: float = 0.0
    notes: tuple[tuple[Note, ...], ...] = ()
    instruments: tuple[str, ...] = ()

    def __repr__(self) -> str:
        seconds = self.stems.shape[-1] / self.rate
        return f"Accompaniment({self.stem!r}, seeds={self.seeds}, {seconds:.2f} s at {self.rate} Hz)"

    def mix(self, variation: int = 0) -> np.ndarray:
        """One gain x (song + stem), that of `mix_gain`: float32 [C, N], never above full scale."""
        return mix(self.song, self.stems[variation])

    def mix_gain(self, variation: int = 0) -> float:
        """The gain of a mix in dB: 0, or less where song and stem together would be above full scale."""
        return mix_gain(self.song, self.stems[variation])

    def save(
        self, folder: str | Path, name: str = "", force: bool = False, start: float = 0.0, beats: bool = True
    ) -> list[Path]:
        """Write what the command line writes: for each variation the stem (NAME.STEM.SEED.wav), the mix
        (NAME.STEM.SEED.mix.wav) and a picture (NAME.STEM.SEED.png); and NAME.STEM.beats.txt, for `BeatGrid.load`.

        name: of the song, may be empty. force: replace files that exist. start: where the stretch begins in the
        recording, in seconds, so that the beats count from the recording's beginning. beats: write them, if there are
        some. Returns the paths. Raises StageError, before anything is written, for what cannot be written.
        """
        folder = Path(folder)
        grid = folder / ".".join([*([name] if name else []), self.stem.replace("/", "-"), "beats.txt"])
        outputs = Outputs.of(folder, name, self.stem, self.seeds, grid if beats and self.grid is not None else None)
        return write(outputs, self, force, start)


def finish(request: Request, prepared: Prepared, stems: np.ndarray, takes: Sequence[Take] = ()) -> Accompaniment:
    """The result of a request: stems [V, N] or [V, C, N] at the song's rate, brought to their level if asked.

    They are as the model made them, with the envelope of `prepared`. takes: of stems that are played notes.
    """
    song, rate, remarks = request.source.audio, request.rate, list(prepared.remarks)
    if request.level:
        target, channels = target_level(request), len(song)
        matched = [match_level(stem, rate, target, channels=channels) for stem in stems]
        stems = np.stack([limit(stem, rate) for stem in matched])
        for seed, stem in zip(request.seeds, stems):
            remarks += _missed(request.stem, seed, loudness(spread(stem, channels), rate) - target)
    made = Accompaniment(
        request.stem,
        stems,
        song,
        rate,
        request.seeds,
        prepared.grid,
        tuning=prepared.tuning,
        notes=tuple(take.notes for take in takes),
        instruments=tuple(take.instrument for take in takes),
    )
    for i, seed in enumerate(made.seeds):
        if (gain := made.mix_gain(i)) < -0.05:
            remarks.append(
                f"seed {seed}: the mix is turned down by {-gain:.1f} dB, or song and stem together would clip"
            )
    return replace(made, remarks=tuple(remarks))


def _missed(stem: str, seed: int, difference: float) -> list[str]:
    """What there is to say about a stem that differs from its level by so many LU."""
    if difference == -np.inf:
        return [f"seed {seed}: the {stem} stem is silent: try another seed"]
    if difference < -MISSED:
        return [f"seed {seed}: the {stem} stem stays {-difference:.1f} LU below its level, or its peaks would clip"]
    return []
