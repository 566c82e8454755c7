"""Results of `stage accompany` and `stage click`, which lie in files, as an arrangement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stage import audio, midi
from stage.beats.grid import BeatGrid
from stage.errors import StageError
from stage.session import time as timing
from stage.session.form import sections
from stage.session.handoff.arrangement import Arrangement, Strip
from stage.session.handoff.export import TAKEN
from stage.session.state import Time


def arrangement(
    stems: Sequence[Path], song: Path | None = None, start: float = 0.0, form: str | None = None
) -> Arrangement:
    """An arrangement of stems that were made for one stretch of a song, and of the song.

    stems: WAV or FLAC files, of one length and rate. Notes, tempi and bars come from MIDI files of the same name beside
    them (NAME.drums.0.mid for NAME.drums.0.wav), those of the first that has beats. start: second of the song at which
    the stems begin. form: the sections of the stretch as `stage.session.form.sections` takes them; without one, the
    markers of the first MIDI file that has some. Raises StageError for what does not belong together.
    """
    if not stems:
        raise StageError("name a stem to export, like song-stage/song.drums.0.wav")
    strips, grid, shape, markers = [], None, None, ()
    for path in stems:
        sound, rate = audio.read(path)
        if shape is None:
            shape = rate, sound.shape[1]
        if shape != (rate, sound.shape[1]):
            raise StageError(
                f"{path} has {sound.shape[1]} samples at {rate} Hz, {stems[0]} {shape[1]} at {shape[0]}: stems of one"
                " export are of one stretch"
            )
        notes, stem, program, beats, marks = _notes(path.with_suffix(".mid"), shape[1] / rate)
        grid, markers = grid or beats, markers or marks
        name = _name(path, [strip.name for strip in strips])
        strips.append(Strip(name, sound, notes, stem or name, program))
    assert shape is not None
    rate, samples = shape
    first, mix = round(start * rate), None
    if song is not None:
        mix, song_rate = audio.read(song, start, samples / rate)
        if song_rate != rate or mix.shape[1] != samples:
            there = f"{song} has {mix.shape[1]} samples at {song_rate} Hz from {start:g} s on"
            raise StageError(
                f"{there}, the stems {samples} at {rate} Hz: name the stretch that they were made for with --start"
            )
        strips.insert(0, Strip("song", mix, song=True))
    if form is not None:
        time = Time.of(grid)
        starts, found = timing.downbeats(time), sections(form, time, mix, rate)
        markers = tuple((float(starts[section.bar - 1]), section.name) for section in found)
    title = song.stem if song is not None else stems[0].name.split(".")[0]
    return Arrangement(title, rate, samples, tuple(strips), grid, markers=markers, start=first)


def _notes(path: Path, seconds: float) -> tuple[tuple | None, str, int, BeatGrid | None, tuple]:
    """(notes, stem, program, beats, markers) of the MIDI file beside a stem of so many seconds; None, "", 0, None, ()
    where there is none."""
    if not path.is_file():
        return None, "", 0, None, ()
    score = midi.read(path)
    part = score.parts[0]
    times, numbers = score.beats(seconds)
    grid = BeatGrid(times, np.maximum(numbers, 1), score.division) if len(times) > 1 else None
    words = ["".join(c if c.isprintable() else " " for c in text).strip() for _, text in score.markers]
    markers = tuple((second, text) for (second, _), text in zip(score.markers, words) if text)
    return tuple(part.notes), "drums" if part.drums else "", part.program, grid, markers


def _name(path: Path, there: Sequence[str]) -> str:
    """The stem that a file's name holds (NAME.STEM.SEED.wav), or the name, with a number where there are several."""
    words = path.stem.split(".")
    plain = words[-2] if len(words) > 2 and words[-1].isdigit() else path.stem
    known = {name.lower() for name in (*TAKEN, *there)}
    return plain if plain.lower() not in known else next(n for i in range(2, 999) if (n := f"{plain}-{i}") not in known)
