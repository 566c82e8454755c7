"""A finished stem with what it was made for, at the level of the song it joins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stage import midi_writing
from stage.audio.files import fit
from stage.audio.level import MOST_GAIN, limit, limiter_gain, loudness, match_gain, mix, mix_gain, spread
from stage.beats.grid import BeatGrid, click_track
from stage.chords.chart import Chart
from stage.errors import StageError
from stage.generation.envelope import Envelope
from stage.generation.outputs import Outputs, write
from stage.generation.prepare import Prepared, target_level
from stage.generation.request import CLICK_GAIN, Request
from stage.generation.sounding import Take
from stage.instruments import stems as sounds
from stage.midi import DRUM_CHANNEL, Part
from stage.models.playable import INSTRUMENTS
from stage.notes import Note

if TYPE_CHECKING:
    from mido import MidiFile

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
    chords: what they were played to, given or read by the model; None where nothing is known.
    instruments: of each variation, by the names of `stage.models.playable.INSTRUMENTS` or a file's.
    envelope: gain of the stems over time. gains: of each stem in dB, by which it was brought to the song's level; empty
        where that was not asked for.
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
    chords: Chart | None = None
    envelope: Envelope = Envelope()
    gains: tuple[float, ...] = ()

    def __repr__(self) -> str:
        seconds = self.stems.shape[-1] / self.rate
        return f"Accompaniment({self.stem!r}, seeds={self.seeds}, {seconds:.2f} s at {self.rate} Hz)"

    def mix(self, variation: int = 0) -> np.ndarray:
        """One gain x (song + stem), that of `mix_gain`: float32 [C, N], never above full scale."""
        return mix(self.song, self.stems[variation])

    def mix_gain(self, variation: int = 0) -> float:
        """The gain of a mix in dB: 0, or less where song and stem together would be above full scale."""
        return mix_gain(self.song, self.stems[variation])

    def midi(self, variation: int = 0) -> MidiFile:
        """The notes of a variation as a MIDI file of type 1, with the tempi and bars of the grid (120 BPM where there
        is none); it begins with the first sample. Drums are on channel 10 by the General MIDI map.

        Raises StageError where there are no notes, as with a model of audio codes.
        """
        self._check_notes()
        channel = DRUM_CHANNEL if self.stem == "drums" else 0
        instrument = self.instruments[variation]
        programs = INSTRUMENTS[self.stem].get(instrument) or (sounds.program_of(self.stem, instrument),)
        part = Part(self.stem, channel, programs[0], notes=list(self.notes[variation]))
        grid = self.grid
        if grid is None or (grid.times > -1e-9).sum() < 2:
            grid = BeatGrid.regular(120, 4, self.stems.shape[-1] / self.rate + 1)
        return midi_writing.build([part], grid.times, grid.numbers, grid.division)

    def pieces(self, variation: int = 0) -> Iterator[tuple[str, np.ndarray]]:
        """Each piece of the drums that is played, alone: (name, float32 [C, N]), with its part of the room and of the
        limiter's work, so that together they are the stem.

        Raises StageError for other stems, and where there are no notes.
        """
        self._check_notes()
        if self.stem != "drums":
            raise StageError(f"{self.stem} has no pieces: only drums can be had piece by piece")
        notes, rate, seed = self.notes[variation], self.rate, self.seeds[variation] % 2**32
        kit, seconds = self.instruments[variation], self.stems.shape[-1] / self.rate
        channels = self.stems.shape[1]
        factor, limited = np.float32(1), None
        if self.gains:
            factor = np.float32(10 ** (self.gains[variation] / 20))
            whole = self.envelope.apply(sounds.sound(notes, "drums", kit, rate, seconds, seed, channels=channels))
            limited = limiter_gain(factor * whole, rate)
        for piece, alone in sounds.pieces(notes, kit, rate, seconds, seed, channels=channels):
            shaped = factor * self.envelope.apply(alone)
            yield piece, shaped if limited is None else shaped * limited

    def _check_notes(self) -> None:
        if not self.notes:
            raise StageError("this stem was made as sound: it has no notes. A model that plays notes has them")

    def counted_in(self, bars: int) -> Accompaniment:
        """The same after so many bars of clicks (`BeatGrid.counted_in`), in which the stems are silent.

        Raises StageError where no beats are known.
        """
        grid, more, counted = (self.grid or BeatGrid.empty()).counted_in(bars, self.rate)
        seconds = more / self.rate
        clicks = CLICK_GAIN * fit(click_track(counted, seconds, self.rate), more)
        return replace(
            self,
            stems=np.pad(self.stems, [(0, 0)] * (self.stems.ndim - 1) + [(more, 0)]),
            song=np.concatenate([np.broadcast_to(clicks, (len(self.song), more)), self.song], 1).astype(np.float32),
            grid=grid,
            notes=tuple(
                tuple(note._replace(start=note.start + seconds, end=note.end + seconds) for note in part)
                for part in self.notes
            ),
            chords=None if self.chords is None else self.chords.shift(seconds),
            envelope=Envelope(tuple((at + more, position) for at, position in self.envelope.points)),
        )

    def save(
        self,
        folder: str | Path,
        name: str = "",
        force: bool = False,
        start: float = 0.0,
        beats: bool = True,
        pieces: bool = False,
    ) -> list[Path]:
        """Write what the command line writes: for each variation the stem (NAME.STEM.SEED.wav), its notes where it has
        some (NAME.STEM.SEED.mid), the mix (NAME.STEM.SEED.mix.wav) and a picture (NAME.STEM.SEED.png); and
        NAME.STEM.beats.txt, for `BeatGrid.load`.

        name: of the song, may be empty. force: replace files that exist. start: where the stretch begins in the
        recording, in seconds, so that the beats count from the recording's beginning. beats: write them, if there are
        some. pieces: also write each piece of the drums (NAME.STEM.SEED.PIECE.wav), see `pieces`. Returns the paths.
        Raises StageError, before anything is written, for what cannot be written.
        """
        folder = Path(folder)
        grid = folder / ".".join([*([name] if name else []), self.stem.replace("/", "-"), "beats.txt"])
        grid = grid if beats and self.grid is not None else None
        return write(Outputs.of(folder, name, self.stem, self.seeds, grid, pieces), self, force, start)


def finish(
    request: Request, prepared: Prepared, stems: np.ndarray, takes: Sequence[Take] = (), chords: Chart | None = None
) -> Accompaniment:
    """The result of a request: stems [V, N] or [V, C, N] at the song's rate, brought to their level if asked.

    They are as the model made them, with the envelope of `prepared`. takes: of stems that are played notes. chords:
    what they were played to.
    """
    song, rate, remarks = request.source.audio, request.rate, list(prepared.remarks)
    gains: tuple[float, ...] = ()
    if request.level:
        target, channels = target_level(request), len(song)
        gains = tuple(match_gain(stem, rate, target, channels=channels) for stem in stems)
        levelled = []
        for seed, stem, gain in zip(request.seeds, stems, gains):
            matched = stem * np.float32(10 ** (gain / 20))
            levelled.append(limit(matched, rate))
            if levelled[-1] is not matched or not 0 < abs(gain) < MOST_GAIN:  # else it is at its level
                remarks += _missed(request.stem, seed, loudness(spread(levelled[-1], channels), rate) - target)
        stems = np.stack(levelled)
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
        chords=chords,
        envelope=prepared.envelope,
        gains=gains,
    )
    for take in takes:
        said = sounds.remarks(take.notes, request.stem, take.instrument, rate)
        remarks += [remark for remark in said if remark not in remarks]
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
