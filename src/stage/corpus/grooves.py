"""Drum performances by people: the Groove MIDI Dataset's ZIP (J. Gillick et al., CC BY 4.0), one bar at a time.

The data set is not part of this package; its user names the ZIP. Its own split is kept: performances of its test split
are for our held-out songs, all others for training songs.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from stage import midi
from stage.errors import StageError

NAME, LICENCE = "Groove MIDI Dataset", "CC BY 4.0"
CREDIT = (
    "Drums: Groove MIDI Dataset, J. Gillick, A. Roberts, J. Engel, D. Eck, D. Bamman: Learning to Groove with Inverse"
    " Sequence Transformations, ICML 2019; CC BY 4.0"
)
EARLY = 0.12
"""Beats before a bar line within which a hit belongs to the bar after it."""
COLUMNS = (
    "id",
    "drummer",
    "session",
    "style",
    "bpm",
    "beat_type",
    "time_signature",
    "midi_filename",
    "duration",
    "split",
)
KEYS = {55: 49, 52: 57, 50: 48, 47: 45}
"""Keys of the kit on which the set was played, and the keys of General MIDI that mean the same: the edges of both
crashes, the rims of two toms. Others mean what `stage.models.events.GROUPS` says."""
KICKS, SNARES, TOMS, CRASHES = (35, 36), (38, 40, 37), (41, 43, 45, 48, 58), (49, 57)
TIME = (22, 26, 42, 44, 46, 51, 53, 59)
"""Hats and rides."""


@dataclass(frozen=True)
class Performance:
    """A row of the data set. beats: of a bar, in quarters; held_out: of the set's test split."""

    id: str
    drummer: str
    session: str
    style: str
    bpm: float
    beats: int
    fill: bool
    held_out: bool
    file: str
    seconds: float


@dataclass(frozen=True)
class Bar:
    """A bar as it was played: hits [n, 3] (beat within the bar from -EARLY on, key, velocity).

    load: hits; loud: their mean velocity; crash: whether it begins with one; fill: whether it ends in a fill.
    """

    performance: str
    number: int
    hits: np.ndarray
    load: int
    loud: float
    crash: bool
    fill: bool


class Grooves:
    """The performances of a ZIP. Files in it are read when they are first needed."""

    def __init__(self, path: str | Path):
        """Raises StageError for a file that is not the data set's ZIP."""
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(self.path)
            table = min((n for n in self._zip.namelist() if PurePosixPath(n).name == "info.csv"), key=len, default=None)
            if table is None:
                raise StageError(f"{self.path} has no info.csv: it is not the Groove MIDI Dataset's ZIP")
            text = self._zip.read(table).decode("utf-8")
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or error
            raise StageError(f"cannot read {self.path} as the Groove MIDI Dataset's ZIP: {why}") from None
        root = str(PurePosixPath(table).parent)
        self.performances = tuple(self._rows(text, "" if root == "." else root + "/"))
        self.bars = lru_cache(maxsize=512)(self._bars)

    def _rows(self, text: str, root: str) -> list[Performance]:
        rows = csv.DictReader(io.StringIO(text))
        if absent := [c for c in COLUMNS if c not in (rows.fieldnames or ())]:
            raise StageError(f"info.csv in {self.path} has no column {absent[0]}: it is not the Groove MIDI Dataset's")
        made = []
        for number, row in enumerate(rows, 2):
            try:
                above, below = map(int, row["time_signature"].split("-"))
                bpm, seconds = float(row["bpm"]), float(row["duration"])
            except (ValueError, AttributeError):
                raise StageError(f"info.csv in {self.path}: line {number} cannot be read") from None
            if below != 4 or not 20 <= bpm <= 400:
                continue  # compound metres: which beat their tempo counts is not said
            kind, held_out = row["beat_type"] == "fill", row["split"] == "test"
            names = (row["id"], row["drummer"], row["session"], row["style"])
            made.append(Performance(*names, bpm, above, kind, held_out, root + row["midi_filename"], seconds))
        return made

    def hits(self, performance: Performance) -> np.ndarray:
        """[n, 3] float64: beats from the start, key of the GM map, velocity; in order of time."""
        try:
            data = self._zip.read(performance.file)
        except KeyError:
            raise StageError(f"{self.path} lacks {performance.file}, which its info.csv names") from None
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise StageError(f"{self.path}: {performance.file} cannot be read: {error}") from None
        score = midi.parse(Path(performance.file), data)
        notes = sorted(note for part in score.parts for note in part.notes)
        beat = performance.bpm / 60
        return np.array([[n.start * beat, KEYS.get(n.pitch, n.pitch), n.velocity] for n in notes])

    def _bars(self, performance: Performance) -> tuple[Bar, ...]:
        """The bars that are played in full; of a file of one fill, its last bar alone."""
        hits = _centred(self.hits(performance), performance.bpm)
        number = np.maximum(np.floor((hits[:, 0] + EARLY) / performance.beats), 0).astype(int)
        cut = [hits[number == n] for n in range(number.max() + 1)]
        for n, bar in enumerate(cut):
            bar[:, 0] -= n * performance.beats
        whole = [n for n, bar in enumerate(cut) if len(bar) > 2]
        if whole and not performance.fill and cut[whole[-1]][:, 0].max() < performance.beats / 2:
            whole.pop()  # the stroke that ends the performance
        usual = {name: float(np.median([_count(cut[n], keys) for n in whole] or [0])) for name, keys in COUNTED.items()}
        made = tuple(_bar(performance, n, cut[n], usual) for n in whole)
        return made[-1:] if performance.fill else made


USUAL_LATE, USUAL_GAIN, USUAL_KICK = -0.01, 1.5, 100.0
"""Of the whole set: seconds by which hits stand behind the click (they stand before it), and what brings the louder
kicks to a velocity of `USUAL_KICK`. For files with too few hits to tell."""


def _centred(hits: np.ndarray, bpm: float) -> np.ndarray:
    """The hits with two habits of the recordings made good, both measured on each performance.

    Most performances are 10 ms ahead of their click, some 35 ms, all hits alike: the beat that a listener finds lies
    where the hits on beats lie in the mean. And the pad of the kick gave half the velocity of the others.
    """
    hits = hits.copy()
    off = hits[:, 0] - np.round(hits[:, 0])
    off = off[np.abs(off) < EARLY]
    hits[:, 0] -= np.median(off) if len(off) >= 8 else USUAL_LATE * bpm / 60
    kicks = np.isin(hits[:, 1], KICKS)
    loud = np.percentile(hits[kicks, 2], 80) if kicks.sum() >= 8 else USUAL_KICK / USUAL_GAIN
    if loud < USUAL_KICK:
        hits[kicks, 2] = np.minimum(np.round(hits[kicks, 2] * USUAL_KICK / loud), 127)
    return hits


COUNTED = {"snares": SNARES, "time": TIME}


def _count(hits: np.ndarray, keys: tuple[int, ...]) -> int:
    return int(np.isin(hits[:, 1], keys).sum())


def _bar(performance: Performance, number: int, hits: np.ndarray, usual: dict[str, float]) -> Bar:
    """A bar and what is counted in it. usual: the medians of its performance."""
    late = hits[hits[:, 0] > performance.beats / 2 - EARLY]
    more = max(0.0, _count(hits, SNARES) - usual["snares"]) + max(0.0, usual["time"] - _count(hits, TIME))
    fill = performance.fill or _count(late, TOMS) + 0.4 * more >= 2.5
    crash = bool((np.isin(hits[:, 1], CRASHES) & (np.abs(hits[:, 0]) < EARLY)).any())
    return Bar(performance.id, number, hits, len(hits), float(hits[:, 2].mean()), crash, fill)
