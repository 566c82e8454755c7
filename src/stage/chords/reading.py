"""Chords that a user gives, as text or as a file: `read`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stage import text_files
from stage.beats.grid import BeatGrid
from stage.chords import chordpro, played, text, timed
from stage.chords.chart import Chart, bars_of, on_bars
from stage.errors import MissingFile, StageError

MIDI = (".mid", ".midi")
TABLES = (".lab", ".txt", ".csv", ".tsv")
FILES = "chords are read from .lab, .txt, .csv, ChordPro (.cho) and MIDI (.mid) files"
LARGEST = 1 << 20
"""Bytes of a text file: a song's chords have some hundred."""


def read(source: str | Path, grid: BeatGrid | None = None, seconds: float | None = None, start: float = 0.0) -> Chart:
    """Chords on the time line of a stretch of a recording.

    source: text like "Am F C G" (`stage.chords.text`), or the path of a file: .lab, or .txt and .csv with times or with
        text for bars, ChordPro, MIDI. A str is a path if it ends as one of those.
    grid: beats of the stretch, their times from its beginning; without it only files with times can be read.
    seconds: length of the stretch; None: up to the end of the grid's last bar, or of the file.
    start: where the stretch begins in the recording, from whose beginning the times of files count.

    Raises StageError, one line, for what cannot be read or laid on the grid. What was assumed is among the chart's
    remarks.
    """
    path = _path(source)
    if path is None:
        return _on(grid, seconds, text.bars(str(source)))
    if path.suffix.lower() in MIDI:
        made = played.chart(path, grid if grid is not None and len(bars_of(grid, np.inf)) else None, seconds, start)
        return _checked(made, path, start, seconds)
    written = text_files.read(path, "the chords", "a file of chords", timed.EXPECTED + ", or text", LARGEST)
    if not written.strip():
        raise StageError(f"{path} is empty: expected {timed.EXPECTED}, or text like Am F C G")
    if path.suffix.lower() in chordpro.SUFFIXES:
        bars, remarks = chordpro.bars(written, str(path))
        return _on(grid, seconds, bars).remarked(*remarks)
    if path.suffix.lower() == ".lab" or timed.has_times(written):
        end = None if seconds is None else start + seconds
        made = timed.chart(written, str(path), end)
        return _checked(made.crop(start, np.inf if end is None else end), path, start, seconds)
    lines = (line for line in written.splitlines() if not line.lstrip().startswith("#"))
    return _on(grid, seconds, text.bars("\n".join(lines), str(path)))


def check(source: str | Path) -> None:
    """Raise StageError, before any beats are known, for text that cannot be read and for a file that is not there."""
    path = _path(source)
    if path is None:
        text.bars(str(source))
    elif not path.is_file():
        raise MissingFile(f"cannot read the chords {path}: there is no such file")


def _path(source: str | Path) -> Path | None:
    """The file that is meant; None for text."""
    known = (*MIDI, *TABLES, *chordpro.SUFFIXES)
    path = Path(source)
    if path.suffix.lower() in known and (isinstance(source, Path) or "\n" not in source):
        return path
    if isinstance(source, Path) or _is_file(path):
        if not _is_file(path):
            raise MissingFile(f"cannot read the chords {path}: there is no such file")
        raise StageError(f"{path} is no file of chords that is known by its name: {FILES}")
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.suffix != "" and path.is_file()
    except (OSError, ValueError):  # text that no file can be named
        return False


def _on(grid: BeatGrid | None, seconds: float | None, bars: list) -> Chart:
    """Bars on a grid."""
    places = [] if grid is None else bars_of(grid, np.inf if seconds is None else seconds)
    if grid is None or not places:
        raise StageError(
            "chords for each bar need beats, with downbeats: let them be tracked or give them as a file, or give the"
            ' chords as a .lab file ("start end chord" in seconds)'
        )
    return on_bars(bars, grid, float(places[-1][-1]) if seconds is None else seconds)


def _checked(chart: Chart, path: Path, start: float, seconds: float | None) -> Chart:
    """A chart of times, with a remark where it ends early. Raises StageError where it has nothing to say."""
    if not len(chart):
        where = "from there on" if seconds is None else f"from {start:g} to {start + seconds:g} s"
        raise StageError(f"{path} has no chord {where}: its times count from the beginning of the recording")
    end = chart.spans[-1].end
    if seconds is not None and seconds - end > 2.0:
        return chart.remarked(f"the chords of {path.name} end at {start + end:.1f} s: after that none is known")
    return chart
