"""Beats of files: text, one beat a line (`stage.beats.grid_file`), or a MIDI file, for its tempo map and metres."""

from __future__ import annotations

from pathlib import Path

from stage import midi
from stage.beats.grid import BeatGrid
from stage.errors import StageError

MIDI = (".mid", ".midi")
"""Endings of MIDI files."""


def read(path: str | Path) -> BeatGrid:
    """The beats of a file. Raises StageError, one line that names the file, for what has none."""
    return of_midi(path) if Path(path).suffix.lower() in MIDI else BeatGrid.load(path)


def of_midi(path: str | Path) -> BeatGrid:
    """The beats of a MIDI file's tempo map and metres, up to its last note. Raises StageError where it has none."""
    score = midi.read(path)
    times, numbers = score.beats()
    if len(times) < 2:
        raise StageError(f"{path} has fewer than two beats")
    return BeatGrid(times, numbers, score.division)
