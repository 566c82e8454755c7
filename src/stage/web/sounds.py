"""Files behind ids: takes, songs, exports, the metronome of a session, notes, and peaks for drawing."""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stage import files
from stage.beats.grid import click_track
from stage.errors import StageError
from stage.models.playable import GROUPS
from stage.web.database import Database, Row
from stage.web.documents import Books
from stage.web.errors import missing
from stage.web.preparing import write
from stage.web.settings import Settings

TYPES = {".flac": "audio/flac", ".wav": "audio/wav", ".zip": "application/zip", ".json": "application/json"}
BLOCK = 256
"""Samples for which a lowest and a highest value are kept."""
PIECES = {key: name for group in GROUPS.values() for name, key in group}
"""Drum pieces by their key."""


class Sounds:
    """Finds, and where they can be computed makes, the files that ids stand for."""

    def __init__(self, settings: Settings, database: Database, books: Books):
        self.settings, self.database, self.books = settings, database, books
        self._making = threading.Lock()
        self._peaks = lru_cache(maxsize=32)(self._read_peaks)

    def find(self, id: str) -> tuple[Row, Path]:
        """A file by its id, and where it lies. Raises Refused where it is not there, or no longer."""
        row = self.database.file(id)
        if row is None:
            raise missing("file")
        path = self.settings.data / row["path"]
        if not path.is_file() and row["kind"] == "click":
            self._make_click(row, path)
        if not path.is_file():
            raise missing("file")
        return row, path

    def media_type(self, row: Row, path: Path) -> str:
        """What a file is, by its first bytes where it is sound."""
        if row["kind"] in ("song", "click", "take"):
            with open(path, "rb") as file:
                return "audio/wav" if file.read(4) in (b"RIFF", b"RF64") else "audio/flac"
        return TYPES[path.suffix]

    def _make_click(self, row: Row, path: Path) -> None:
        folder = self.settings.sessions / row["session"]
        book = self.books.read(folder)
        name = path.stem.removeprefix("click-")
        if name not in book.times or (grid := book.times[name].grid) is None:
            raise missing("file")
        with self._making:
            if not path.is_file():
                rate = book.source.rate
                sound = 0.5 * click_track(grid, book.source.samples / rate, rate)
                write(path, files_fit(sound, book.source.samples)[None], rate)

    def notes(self, path: Path) -> list[dict[str, Any]]:
        """A take's notes for drawing; drums have names."""
        try:
            rows = json.loads(path.read_bytes())
        except (OSError, ValueError):
            raise missing("file") from None
        drums = path.name.startswith("drums-")
        return [
            {
                "start": start,
                "length": round(end - start, 6),
                "pitch": pitch,
                "velocity": velocity,
                "piece": PIECES.get(pitch) if drums else None,
            }
            for start, end, pitch, velocity in rows
        ]

    def peaks(self, id: str, n: int) -> dict[str, Any]:
        """n lowest and highest values of a sound, -1..1, over its length, of all channels."""
        row, path = self.find(id)
        if row["kind"] not in ("song", "click", "take"):
            raise StageError("this file is not sound: it has no peaks")
        low, high, rate, samples = self._peaks(id, path)
        edges = np.minimum(np.linspace(0, len(low), min(n, len(low)) + 1).round().astype(int), len(low))
        lows, highs = np.minimum.reduceat(low, edges[:-1]), np.maximum.reduceat(high, edges[:-1])
        pairs = np.stack([lows, highs], 1).astype(np.float64).round(4).clip(-1, 1)
        return {"seconds": samples / rate, "rate": rate, "peaks": pairs.tolist()}

    def _read_peaks(self, id: str, path: Path) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Lowest and highest value of each block, the rate, and the length in samples; computed once."""
        place = self.settings.peaks / f"{id}.npz"
        try:
            with np.load(place) as held:
                return held["low"], held["high"], int(held["rate"]), int(held["samples"])
        except (OSError, ValueError, KeyError):
            pass
        low, high, rate, samples = measure(path)
        with files.whole_file(place, force=True) as partial, open(partial, "wb") as file:
            np.savez(file, low=low, high=high, rate=rate, samples=samples)
        return low, high, rate, samples


def files_fit(sound: np.ndarray, samples: int) -> np.ndarray:
    """Sound [N] brought to a length."""
    return np.pad(sound, (0, max(0, samples - len(sound))))[:samples]


def measure(path: Path) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(lowest, highest) float32 [blocks] of a file of ours, its rate and its length in samples; read bit by bit."""
    import soundfile

    lows, highs = [], []
    with soundfile.SoundFile(path) as file:
        for part in file.blocks(BLOCK * 1024, dtype="float32", always_2d=True):
            starts = np.arange(0, len(part), BLOCK)
            lows.append(np.minimum.reduceat(part.min(1), starts))
            highs.append(np.maximum.reduceat(part.max(1), starts))
        rate, samples = file.samplerate, file.frames
    if not lows:
        raise missing("file")
    return np.concatenate(lows), np.concatenate(highs), rate, samples
