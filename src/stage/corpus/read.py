"""Reads songs of the corpus from disk, a piece at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from stage.errors import StageError
from stage.typed import convert

FIELDS = {
    "id": str,
    "rate": int,
    "samples": int,
    "beats": tuple[float, ...],
    "downbeat_numbers": tuple[int, ...],
    "stems": dict,
}
"""What every song.json holds."""


class CorpusSong:
    """A song folder. `song.json` is read when first needed; audio only where it is asked for."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    @cached_property
    def meta(self) -> dict:
        """song.json as a dict. Raises StageError if it is missing, or lacks or garbles what every song has."""
        path = self.folder / "song.json"
        try:
            meta = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise StageError(f"{self.folder} is not a song of the corpus: song.json cannot be read.") from error
        if not isinstance(meta, dict):
            raise StageError(f"{path} is not of a song of the corpus: build the song again")
        for name, kind in FIELDS.items():
            if name not in meta:
                raise StageError(f"{path} lacks {name}: build the song again")
            convert(meta[name], kind, str(path), name)
        if not isinstance(meta["stems"], dict) or len(meta["beats"]) != len(meta["downbeat_numbers"]):
            raise StageError(f"{path} is damaged: build the song again")
        if not all(0 < number < 1000 for number in meta["downbeat_numbers"]):
            raise StageError(f"{path} has beats with numbers that no bar has: build the song again")
        if not 0 < meta["rate"] <= 1_000_000 or not 0 <= meta["samples"] <= 100_000 * meta["rate"]:
            raise StageError(f"{path} has a rate or a length that no song has: build the song again")
        return meta

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """Within, whatever song.json lacks or garbles raises StageError."""
        try:
            yield
        except StageError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            path = self.folder / "song.json"
            raise StageError(f"{path} is not as stage corpus writes it ({type(error).__name__}: {error})") from None

    @property
    def id(self) -> str:
        return self.meta["id"]

    @property
    def rate(self) -> int:
        return self.meta["rate"]

    @property
    def samples(self) -> int:
        return self.meta["samples"]

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems that play."""
        return tuple(self.meta["stems"])

    @property
    def beats(self) -> np.ndarray:
        """Beat times in seconds, float64 `[n]`."""
        return np.asarray(self.meta["beats"], dtype=np.float64)

    @property
    def numbers(self) -> np.ndarray:
        """Position in the bar of each beat, 1 = downbeat, int64 `[n]`."""
        return np.asarray(self.meta["downbeat_numbers"], dtype=np.int64)

    def stem(self, name: str) -> np.ndarray:
        """The whole stem, float32 `[N]`."""
        return self.crop(name, 0.0, self.seconds)

    def crop(self, stem: str, start: float, seconds: float) -> np.ndarray:
        """`seconds` of a stem from `start`: float32 `[round(seconds * rate)]`, zeros beyond the song.

        A stem that does not play in this song is silence; an unknown file error is a StageError.
        """
        first, count = int(round(start * self.rate)), int(round(seconds * self.rate))
        out = np.zeros(count, dtype=np.float32)
        if stem not in self.meta["stems"]:
            return out
        skip = max(-first, 0)
        try:
            with soundfile.SoundFile(self.folder / f"{stem}.flac") as file:
                file.seek(min(max(first, 0), file.frames))
                audio = file.read(max(count - skip, 0), dtype="float32")
        except (OSError, soundfile.LibsndfileError) as error:
            raise StageError(
                f"{self.folder / stem}.flac cannot be read; delete the song's folder and build it again."
            ) from error
        out[skip : skip + len(audio)] = audio
        return out

    def mix(self, stems: tuple[str, ...] | None = None, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
        """The sum of some stems (all by default), float32 `[N]`."""
        length = self.seconds - start if seconds is None else seconds
        out = np.zeros(int(round(length * self.rate)), dtype=np.float32)
        for stem in self.stems if stems is None else stems:
            out += self.crop(stem, start, length)
        return out


def songs(root: str | Path, split: str) -> list[CorpusSong]:
    """All finished songs of a split, in order of their names. Raises StageError if there are none."""
    folder = Path(root) / split
    found = [CorpusSong(p.parent) for p in sorted(folder.glob("[!.]*/song.json"))]
    if not found:
        raise StageError(f"No songs in {folder}: build them with `stage corpus {root} --split {split}`.")
    return found
