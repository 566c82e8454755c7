"""Beats of files: text, one beat a line (`stage.beats.grid_file`), or a MIDI file, for its tempo map and metres."""

from __future__ import annotations

from pathlib import Path

from stage import midi
from stage.beats.grid import BeatGrid
from stage.errors import StageError

MIDI = (".mid", ".midi")
"""Endings of MIDI files."""


def read(path: str | Path, until: float | None = None) -> BeatGrid:
    """The beats of a file; a MIDI file's go on up to the second `until`, if that is later than its end.

    Raises StageError, one line that names the file, for what has none.
    """
    return of_midi(path, until) if Path(path).suffix.lower() in MIDI else BeatGrid.load(path)


def of_midi(path: str | Path, until: float | None = None) -> BeatGrid:
    """The beats of a MIDI file's tempo map and metres, up to its last note (or, without notes, its end), or up to the
    second `until` if that is later. Raises StageError where there are fewer than two."""
    score = midi.read(path, notes=False)
    times, numbers = score.beats(until)
    if len(times) < 2:
        raise StageError(f"{path} has fewer than two beats")
    return BeatGrid(times, numbers, score.division)
