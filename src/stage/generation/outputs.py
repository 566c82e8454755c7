"""The files of a result: their names, checked before anything is made, and what is written under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stage import audio
from stage.files import check_folder, check_free, whole_file
from stage.generation import picture

if TYPE_CHECKING:
    from stage.generation.result import Accompaniment


@dataclass(frozen=True)
class Outputs:
    """Where the files of a result go; entry i of the lists belongs to variation i. name: of the song, for the pictures.
    grid: of the beats, None for no such file."""

    name: str
    stems: tuple[Path, ...] = ()
    mixes: tuple[Path, ...] = ()
    pictures: tuple[Path, ...] = ()
    grid: Path | None = None

    @classmethod
    def of(cls, folder: Path, name: str, stem: str, seeds: Sequence[int], grid: Path | None = None) -> Outputs:
        """NAME.STEM.SEED.wav, NAME.STEM.SEED.mix.wav and NAME.STEM.SEED.png in a folder; without "NAME." if that is
        empty."""
        stubs = [".".join([*([name] if name else []), stem.replace("/", "-"), str(seed)]) for seed in seeds]
        ends = (".wav", ".mix.wav", ".png")
        return cls(name, *(tuple(folder / f"{stub}{end}" for stub in stubs) for end in ends), grid)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file, the three of a variation together, the beats last."""
        three = (path for paths in zip(self.stems, self.mixes, self.pictures) for path in paths)
        return (*three, *([self.grid] if self.grid else []))

    def check(self, force: bool = False) -> None:
        """Raise StageError if one cannot be written, or exists and is not to be replaced."""
        for path in self.all:
            check_free(path, force, "add --force to replace it, or choose another folder or seed")
        for place in dict.fromkeys(path.parent for path in self.all):
            check_folder(place)


def write(outputs: Outputs, made: Accompaniment, force: bool = False, start: float = 0.0) -> list[Path]:
    """Write all files, each whole or not at all; the beats only if there are some. Returns those that were written.

    start: seconds of the recording at which the stretch begins: the beats of the file count from the recording's.
    """
    outputs.check(force)
    for i, (stem, mix, image) in enumerate(zip(outputs.stems, outputs.mixes, outputs.pictures)):
        audio.write(stem, made.stems[i], made.rate, force)
        audio.write(mix, made.mix(i), made.rate, force)
        picture.draw(image, made, i, outputs.name, force)
    if outputs.grid and made.grid is not None:
        with whole_file(outputs.grid, force) as partial:
            made.grid.shift(start).save(partial)
    return [path for path in outputs.all if path != outputs.grid or made.grid is not None]
