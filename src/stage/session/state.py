"""What `session.json` holds: plain values, checked when they are read (docs/workflow.md has the format).

Takes and times never change once they are made; a step of the history names those that it uses, so that undoing a step
changes one number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stage import files, typed
from stage.beats.grid import BeatGrid
from stage.chords.chart import Chart, Span
from stage.chords.symbols import parse
from stage.errors import MissingFile, StageError

FORMAT, VERSION = "stage session", 1
FILE = "session.json"
TAKES = "takes"
"""Folder of the takes' sound and notes."""
GAIN_LEAST, GAIN_MOST = 96.0, 24.0
"""dB by which a track can be turned down and up."""
STEPS_MOST = 500
"""Steps that can be undone."""


@dataclass(frozen=True)
class Song:
    """What is played to: a stretch of a recording. path: of the file; relative: from the session's folder, for both
    may be moved together. checksum: of the file. start: of the stretch in seconds; rate, channels, samples: what it
    holds, of which the last `beyond` lie behind the recording's end, in silence."""

    path: str
    relative: str
    checksum: str
    start: float
    rate: int
    channels: int
    samples: int
    stream: int = 0
    beyond: int = 0


@dataclass(frozen=True)
class Click:
    """What is played to where there is no recording: a tempo. Length and beats are those of the session's time."""

    rate: int
    samples: int


@dataclass(frozen=True)
class Section:
    """A part of the form: its name, its first bar, from 1 on, and how much happens in it, 0 to 1 or as it comes."""

    name: str
    bar: int
    energy: float | None = None


@dataclass(frozen=True)
class Time:
    """Beats, chords, tuning and form of the song, in seconds of its stretch.

    times, numbers, division: of the beats, see `BeatGrid`; empty where none are known. chords: (start, end, symbol),
    None where each stem is played to those that the model reads. tuning: cents from A = 440 Hz.
    """

    times: tuple[float, ...] = ()
    numbers: tuple[int, ...] = ()
    division: int = 1
    chords: tuple[tuple[float, float, str], ...] | None = None
    tuning: float = 0.0
    sections: tuple[Section, ...] = ()

    @classmethod
    def of(
        cls,
        grid: BeatGrid | None,
        chart: Chart | None = None,
        tuning: float = 0.0,
        sections: tuple[Section, ...] = (),
    ) -> Time:
        """Of beats and chords as the rest of the package has them."""
        chords = None if chart is None else tuple((s.start, s.end, s.chord.name) for s in chart)
        if grid is None:
            return cls((), (), 1, chords, tuning, sections)
        return cls(tuple(grid.times.tolist()), tuple(grid.numbers.tolist()), grid.division, chords, tuning, sections)

    @cached_property
    def grid(self) -> BeatGrid | None:
        """The beats; None for fewer than two."""
        return BeatGrid(np.array(self.times), np.array(self.numbers), self.division) if len(self.times) > 1 else None

    @cached_property
    def chart(self) -> Chart | None:
        """The chords."""
        return None if self.chords is None else Chart(tuple(Span(a, b, parse(name)) for a, b, name in self.chords))


@dataclass(frozen=True)
class Backing:
    """A take that was in the mix that another was played to, with the gain in dB and the pan that it had there."""

    take: str
    gain: float = 0.0
    pan: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """All that a take was made from: the same recipe makes it again.

    time: the name of the session's time. backing: takes that stood in the mix ("heard" in the
    file). song: whether the recording did. model:
    name or folder; weights: fingerprint of the decoder's. parent: the take that was changed, of which the regions
    (seconds) were played anew, each the likeliest of so many candidates. instrument: on which the parent's notes are
    played instead; no model has a part in it.
    """

    stem: str
    seed: int
    time: str
    model: str
    weights: str
    prompt: str = ""
    performance: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    backing: tuple[Backing, ...] = ()
    song: bool = True
    parent: str | None = None
    regions: tuple[tuple[float, float], ...] = ()
    candidates: int = 1
    instrument: str = ""


@dataclass(frozen=True)
class Take:
    """A variation that was made. audio, notes: fingerprints of its files; notes is None for a model of audio codes.
    gain: dB by which it was brought to its level. instrument: that plays it. check: figures of the quick check.
    versions: of what made it."""

    recipe: Recipe
    audio: str
    notes: str | None
    instrument: str = ""
    gain: float = 0.0
    check: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)


def root(recipe: Recipe, take: Callable[[str], Take]) -> Recipe:
    """The recipe that another began with, before regions were redone. take: by its name."""
    while recipe.parent is not None:
        recipe = take(recipe.parent).recipe
    return recipe


@dataclass(frozen=True)
class Track:
    """An instrument of the arrangement: its takes in the order in which they were made, and the one that is kept.

    gain in dB, pan from -1 (left) to 1 (right). mute: not in the mix, and not in what later stems are
    played to. lock: nothing of it can be changed.
    """

    name: str
    stem: str
    takes: tuple[str, ...]
    kept: str
    gain: float = 0.0
    pan: float = 0.0
    mute: bool = False
    lock: bool = False

    def __post_init__(self) -> None:
        typed.check_range(self, gain=(-GAIN_LEAST, GAIN_MOST), pan=(-1, 1))


@dataclass(frozen=True)
class Step:
    """A state of the arrangement, and what led to it."""

    what: str
    time: str
    tracks: tuple[Track, ...] = ()


@dataclass(frozen=True)
class Book:
    """The whole of `session.json`. at: the step that is in force; those behind it can be done again. changes: how often
    the file was written, by which a change by another program is noticed. made: takes and times that were ever made,
    for their names."""

    format: str
    version: int
    source: Song | Click
    times: dict[str, Time]
    takes: dict[str, Take]
    history: tuple[Step, ...]
    at: int
    changes: int = 0
    made: int = 0

    @property
    def step(self) -> Step:
        """The step in force."""
        return self.history[self.at]

    def stepped(self, step: Step, takes: dict[str, Take], times: dict[str, Time], made: int) -> Book:
        """The book with one more step; those that were undone, and the takes of them alone, are left out."""
        history = (*self.history[: self.at + 1], step)[-STEPS_MOST:]
        takes, times = self.takes | takes, self.times | times
        named = {name for s in history for track in s.tracks for name in track.takes}
        waiting = list(named)
        while waiting:  # what a take was made from is needed to make it again
            recipe = takes[waiting.pop()].recipe
            more = {*(b.take for b in recipe.backing), *([recipe.parent] if recipe.parent else [])} - named
            named |= more
            waiting += more
        used = {s.time for s in history} | {takes[name].recipe.time for name in named}
        return dataclasses.replace(
            self,
            times={name: time for name, time in times.items() if name in used},
            takes={name: take for name, take in takes.items() if name in named},
            history=history,
            at=len(history) - 1,
            changes=self.changes + 1,
            made=made,
        )


def read(folder: str | Path) -> Book:
    """The book of a session's folder. Raises StageError, one line, for what is missing, broken, or newer than this."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise MissingFile(f"{folder} is not a session: it has no {FILE}. Begin one with: stage session new SONG")
    values = typed.read_json(path)
    if values.get("format") != FORMAT:
        raise StageError(f"{path} is not the file of a session")
    version = values.get("version")
    if not isinstance(version, int) or version < 1:
        raise StageError(f"{path} is damaged: it has no version")
    if version > VERSION:
        raise StageError(
            f"{path} was written by a newer version of STAGE (format {version}, this one reads {VERSION}): update it"
        )
    book = typed.build(Book, _renamed(values, "heard", "backing"), str(path))
    _check(book, path)
    return book


def write(folder: str | Path, book: Book) -> None:
    """Write the book, whole or not at all."""
    files.write_json(Path(folder) / FILE, _renamed(dataclasses.asdict(book), "backing", "heard"), indent=None)


def _renamed(values: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The values of a book with another name for that key of its recipes: what stands in the file keeps its name."""
    takes = values.get("takes")
    for take in takes.values() if isinstance(takes, dict) else ():
        recipe = take.get("recipe") if isinstance(take, dict) else None
        if isinstance(recipe, dict) and old in recipe:
            recipe[new] = recipe.pop(old)
    return values


def _check(book: Book, path: Path) -> None:
    """Raise StageError for names that lead nowhere and values that cannot be."""

    def need(held: bool, what: str) -> None:
        if not held:
            raise StageError(f"{path} is damaged: {what}")

    need(0 <= book.at < len(book.history), "the step that it is at is not there")
    for name, take in book.takes.items():
        recipe = take.recipe
        need(recipe.time in book.times, f"the time of take {name} is not there")
        needed = [b.take for b in recipe.backing] + ([recipe.parent] if recipe.parent else [])
        need(all(other in book.takes for other in needed), f"a take that take {name} was made from is not there")
        need(bool(recipe.parent or not recipe.instrument), f"take {name} has an instrument and nothing to play on it")
        need(not set(name) & set("/\\:") and name not in ("", ".", ".."), f"a take cannot be called {name!r}")
        need(all(0 <= a < b < np.inf for a, b in recipe.regions), f"a region of take {name} is not a stretch of time")
    for step in book.history:
        need(step.time in book.times, f'the time of the step "{step.what}" is not there')
        for track in step.tracks:
            need(track.kept in track.takes, f"the kept take of {track.name} is not among its takes")
            need(all(take in book.takes for take in track.takes), f"a take of {track.name} is not there")
    for time in book.times.values():
        try:
            _ = time.grid, time.chart
        except StageError as error:
            raise StageError(f"{path} is damaged: {error}") from None
