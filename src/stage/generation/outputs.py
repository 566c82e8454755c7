"""The files of a result: their names, checked before anything is made, and what is written under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stage import audio, midi_writing
from stage.chords.chart import check_name
from stage.errors import StageError
from stage.files import check_folder, check_free, whole_file
from stage.generation import picture
from stage.instruments.stems import PIECES

if TYPE_CHECKING:
    from stage.generation.result import Accompaniment


NO_PIECES = "this model makes sound, not notes: only a model that plays notes can write them by pieces"


@dataclass(frozen=True)
class Outputs:
    """Where the files of a result go; entry i of the lists belongs to variation i. name: of the song, for the pictures.
    midis: written where there are notes. pieces: of the drums by name, those that are played are written; empty for
    none. grid: of the beats, chords: of the chords, None for no such file."""

    name: str
    stems: tuple[Path, ...] = ()
    mixes: tuple[Path, ...] = ()
    pictures: tuple[Path, ...] = ()
    midis: tuple[Path, ...] = ()
    pieces: tuple[dict[str, Path], ...] = ()
    grid: Path | None = None
    chords: Path | None = None

    @classmethod
    def of(
        cls,
        folder: Path,
        name: str,
        stem: str,
        seeds: Sequence[int],
        grid: Path | None = None,
        pieces: bool = False,
        chords: Path | None = None,
    ) -> Outputs:
        """NAME.STEM.SEED.wav, .mix.wav, .png and .mid in a folder, for pieces also NAME.STEM.SEED.PIECE.wav; without
        "NAME." if that is empty. Raises StageError for pieces of another stem than the drums."""
        if pieces and stem != "drums":
            raise StageError(f"{stem} has no pieces: only drums can be written piece by piece")
        stubs = [".".join([*([name] if name else []), stem.replace("/", "-"), str(seed)]) for seed in seeds]
        ends = (".wav", ".mix.wav", ".png", ".mid")
        parts = [{piece: folder / f"{stub}.{piece}.wav" for piece in (*PIECES, "percussion")} for stub in stubs]
        files = (tuple(folder / f"{stub}{end}" for stub in stubs) for end in ends)
        return cls(name, *files, tuple(parts) if pieces else (), grid, chords)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file, those of a variation together, beats and chords last."""
        of_each = zip(self.stems, self.midis or [None] * len(self.stems), self.mixes, self.pictures)
        made: list[Path] = []
        for i, (stem, notes, mix, image) in enumerate(of_each):
            pieces = self.pieces[i].values() if self.pieces else ()
            made += [stem, *([notes] if notes else []), *pieces, mix, image]
        return (*made, *(path for path in (self.grid, self.chords) if path))

    def check(self, force: bool = False) -> None:
        """Raise StageError if one cannot be written, or exists and is not to be replaced."""
        if self.chords:
            check_name(self.chords)
        for path in self.all:
            check_free(path, force, "add --force to replace it, or choose another folder or seed")
        for place in dict.fromkeys(path.parent for path in self.all):
            check_folder(place)


def write(outputs: Outputs, made: Accompaniment, force: bool = False, start: float = 0.0) -> list[Path]:
    """Write all files, each whole or not at all; notes, pieces and beats only if there are some. Returns those that
    were written.

    start: seconds of the recording at which the stretch begins: the beats of the file count from the recording's.
    """
    outputs.check(force)
    if outputs.pieces and not made.notes:
        raise StageError(NO_PIECES)
    written: set[Path | None] = {*outputs.stems, *outputs.mixes, *outputs.pictures}
    for i, (stem, mix, image) in enumerate(zip(outputs.stems, outputs.mixes, outputs.pictures)):
        audio.write(stem, made.stems[i], made.rate, force)
        if made.notes and outputs.midis:
            midi_writing.save(outputs.midis[i], made.midi(i), force)
            written.add(outputs.midis[i])
        if outputs.pieces:
            for piece, sound in made.pieces(i):
                audio.write(outputs.pieces[i][piece], sound, made.rate, force)
                written.add(outputs.pieces[i][piece])
        audio.write(mix, made.mix(i), made.rate, force)
        picture.draw(image, made, i, outputs.name, force)
    if outputs.grid and made.grid is not None:
        with whole_file(outputs.grid, force) as partial:
            made.grid.shift(start).save(partial)
        written.add(outputs.grid)
    if outputs.chords and made.chords is not None:
        made.chords.shift(start).save(outputs.chords, force)
        written.add(outputs.chords)
    return [path for path in outputs.all if path in written]
