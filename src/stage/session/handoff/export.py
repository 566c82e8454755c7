"""A folder of everything that another program needs: `export`."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from stage import audio as sound
from stage import files, midi_writing
from stage.audio import wave
from stage.beats.grid import BeatGrid, click_track
from stage.errors import StageError
from stage.files import check_folder, whole_folder
from stage.session import sounds
from stage.session.handoff import dawproject, reaper
from stage.session.handoff.arrangement import COUNT_IN, Arrangement, Strip

KINDS = ("stems", "mix", "midi", "dawproject", "rpp", "pieces", "click")
USUAL = ("stems", "mix", "midi", "dawproject", "rpp")
FORMATS = ("wav", "float", "flac")
TAKEN = ("song", "mix", "click", "arrangement", COUNT_IN)
"""Names of files that no track can have."""


def export(
    arrangement: Arrangement,
    folder: str | Path,
    kinds: Collection[str] = USUAL,
    format: str = "wav",
    force: bool = False,
    count_in: int = 0,
) -> list[Path]:
    """Write an arrangement into a new folder, whole or not at all; returns the paths.

    kinds: of `KINDS`. A REAPER project has its stems beside it, so they are written with it. format: "wav" (24 bits),
    "float" (WAV of 32-bit floats) or "flac" (24 bits). count_in: bars of clicks before the music, in all files. Raises
    StageError for what cannot be written.
    """
    folder = Path(folder)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise StageError(f'"{unknown[0]}" cannot be exported: choose from {", ".join(KINDS)}')
    if format not in FORMATS:
        raise StageError(f'sound is not written as "{format}": choose {", ".join(FORMATS)}')
    if not arrangement.strips:
        raise StageError("there is nothing to export: add a track first")
    arrangement = arrangement.counted_in(count_in)
    if folder.exists() and not force:
        raise StageError(f"{folder} exists: add --force to replace it, or choose another folder")
    check_folder(folder.parent)
    with whole_folder(folder, force) as partial:
        _Writing(arrangement, partial, format).all(set(kinds))
        made = sorted(path.relative_to(partial) for path in partial.rglob("*") if path.is_file())
    return [folder / path for path in made]


def file_name(name: str) -> str:
    """A name as every file system can hold it."""
    return re.sub(r"[^\w .+-]", "-", name).strip(" .") or "track"


class _Writing:
    """An export under way, into a folder."""

    def __init__(self, arrangement: Arrangement, folder: Path, format: str):
        self.arrangement, self.folder, self.format = arrangement, folder, format
        self.end = ".flac" if format == "flac" else ".wav"

    def all(self, kinds: set[str]) -> None:
        if kinds & {"stems", "rpp", "dawproject"}:
            for strip in self.arrangement.strips:
                self._sound(self._stem(strip).name, strip.audio, strip.name)
        if "pieces" in kinds:
            self._pieces()
        if "mix" in kinds:
            self._sound(f"mix{self.end}", self.arrangement.mix(), "mix")
        if "click" in kinds:
            self._click()
        if "midi" in kinds:
            self._midi()
        project = file_name(self.arrangement.name)
        if "dawproject" in kinds:
            dawproject.write(self.folder / f"{project}.dawproject", self.arrangement, self._stem)
        if "rpp" in kinds:
            reaper.write(self.folder / f"{project}.rpp", self.arrangement, lambda strip: self._stem(strip).name)
        if not kinds & {"stems", "rpp"}:  # they are in the DAWproject file
            for strip in self.arrangement.strips:
                self._stem(strip).unlink(missing_ok=True)

    def _stem(self, strip: Strip) -> Path:
        return self.folder / f"{file_name(strip.name)}{self.end}"

    def _sound(self, name: str, audio: np.ndarray, words: str) -> None:
        arrangement, path = self.arrangement, self.folder / name
        if self.end == ".flac":
            files.write_bytes(path, sounds.flac(audio, arrangement.rate))
            return
        what = f"{arrangement.name}: {words}"
        first, tempo = arrangement.start, arrangement.tempo()
        floats = self.format == "float"
        wave.write(path, audio, arrangement.rate, floats=floats, first=first, description=what, tempo=tempo)

    def _pieces(self) -> None:
        for strip in self.arrangement.strips:
            if strip.pieces is not None:
                for piece, audio in strip.pieces():
                    self._sound(f"{file_name(strip.name)}.{piece}{self.end}", audio, f"{strip.name}, {piece}")

    def _click(self) -> None:
        grid, rate = self.arrangement.grid, self.arrangement.rate
        if grid is None:
            raise StageError("there is no click to export: no beats are known")
        track = sound.fit(click_track(grid, self.arrangement.seconds, rate), self.arrangement.samples)
        self._sound(f"click{self.end}", track[None], "click")

    def _midi(self) -> None:
        arrangement = self.arrangement
        grid = arrangement.grid
        if grid is None or (grid.times > -1e-9).sum() < 2:
            grid = BeatGrid.regular(120, 4, arrangement.seconds + 1)
        beats = grid.times, grid.numbers, grid.division
        parts = arrangement.parts()
        for part in parts:
            midi_writing.save(self.folder / f"{file_name(part.name)}.mid", midi_writing.build([part], *beats))
        whole = midi_writing.build(parts, *beats, markers=arrangement.markers)
        midi_writing.save(self.folder / "arrangement.mid", whole)
