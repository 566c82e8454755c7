"""A session that several processes change: a page's mixer moves while a take is made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stage import files
from stage.errors import StageError
from stage.session import state
from stage.session.making import Made, make
from stage.session.session import Session
from stage.session.state import Book, Recipe, Step, Take, Time, Track
from stage.session.store import BUSY

if TYPE_CHECKING:
    from stage.pipeline import EngineName, Progress, Stage

WAIT = 60.0
"""Seconds for which another process's step is waited for; it takes as long as a file is written."""


class SharedSession(Session):
    """A `Session` whose folder is held only while a step is written, not while takes are made.

    A step that finds the book changed by others meanwhile is made on theirs: takes go to their track wherever it is by
    then, whatever it is called, and nothing else of it changes. Raises StageError where the track, or what the takes
    were played to, is there no more.

    grouped: takes that are made one after another are one step, as long as nobody makes one between them. on_sound: see
    `stage.session.making.make`. on_commit: called with the names of new takes just before they are written down.
    """

    def __init__(
        self,
        folder: str | Path,
        model: Stage | str | Path | None = None,
        grouped: bool = False,
        on_sound: Callable[[np.ndarray], None] | None = None,
        on_commit: Callable[[Sequence[str]], None] | None = None,
        engine: EngineName = "auto",
    ):
        super().__init__(folder, model, engine)
        self.grouped, self.on_sound, self.on_commit = grouped, on_sound, on_commit
        self._editing: contextlib.ExitStack | None = None
        self._base: Book = self.book
        self._is_held = False
        self._written: Step | None = None

    def refresh(self) -> None:
        """Read what others have written."""
        self.book = state.read(self.folder)

    @contextlib.contextmanager
    def editing(self) -> Iterator[None]:
        """A step. The folder is held from its first writing on."""
        if self._editing is not None:
            yield
            return
        with contextlib.ExitStack() as stack:
            self._editing, self._base = stack, self.book
            try:
                yield
            except BaseException:
                if self._is_held:  # files of takes that came into no book
                    self.refresh()
                    self._sweep()
                raise
            finally:
                self._editing, self._is_held = None, False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for quick steps, made on what is there now."""
        with self.editing():
            self._hold()
            self._base = self.book
            yield

    def _hold(self) -> None:
        assert self._editing is not None
        if not self._is_held:
            self._editing.enter_context(files.lock(self.folder, BUSY, WAIT))
            self._is_held = True
            self.refresh()
            self._sweep()

    def _make(
        self, recipes: Sequence[Recipe], stem: str, on_progress: Progress | None, made: Sequence[Made] = ()
    ) -> dict[str, Take]:
        made = made or make(self.stage, recipes, self.scene(), on_progress, self.on_sound)
        self._hold()
        for recipe in recipes:
            needed = {one.take for one in recipe.backing} | ({recipe.parent} if recipe.parent else set())
            if recipe.time not in self.book.times or not needed <= set(self.book.takes):
                raise StageError("what it was played to was undone meanwhile: make it again")
        return super()._make(recipes, stem, None, made)

    def _commit(
        self,
        what: str,
        tracks: Sequence[Track],
        takes: Mapping[str, Take] | None = None,
        time: Time | None = None,
    ) -> None:
        self._hold()
        if self.book.changes != self._base.changes:
            tracks = [self._named(track) for track in merged(self._base.step.tracks, tracks, self.tracks)]
        book, last = self.book, self._written
        if self.grouped and takes and last is not None and book.step == last and book.at == len(book.history) - 1:
            self.book, what = replace(book, history=book.history[:-1], at=book.at - 1), last.what
        if self.on_commit and takes:
            self.on_commit(list(takes))
        try:
            super()._commit(what, tracks, takes, time)
        except BaseException:
            self.book = book
            raise
        self._base, self._written = self.book, self.book.step

    @property
    def _found(self) -> Sequence[Track]:
        """Those of when the step began; by now they may have other names."""
        return self._base.step.tracks

    def _named(self, track: Track) -> Track:
        """A new track under a name that is free by now."""
        taken = [t for t in self.tracks if t.name.lower() == track.name.lower() and t.takes[0] != track.takes[0]]
        return replace(track, name=self._free(track.stem)) if taken else track

    def _go(self, by: int, nothing: str) -> str:
        with self.held():
            return super()._go(by, nothing)


def merged(base: Sequence[Track], mine: Sequence[Track], now: Sequence[Track]) -> list[Track]:
    """The tracks of now with what `mine` has and neither of the others: tracks and takes. A track is known by its first
    take, which stays. Raises StageError where one with new takes is gone, or was locked."""
    before: dict[str, Track] = {track.takes[0]: track for track in base}
    made = {track.takes[0]: track for track in now}
    for track in mine:
        if track in base or track in now:
            continue
        old, there = before.get(track.takes[0]), made.get(track.takes[0])
        if old is None:
            made[track.takes[0]] = track
            continue
        if there is None:
            raise StageError(f"the track {track.name} was removed meanwhile: nothing was kept")
        if there.lock:
            raise StageError(f"the track {there.name} was locked meanwhile: nothing was kept")
        new = tuple(take for take in track.takes if take not in there.takes)
        kept = there.kept if track.kept == old.kept else track.kept
        made[track.takes[0]] = replace(there, takes=(*there.takes, *new), kept=kept)
    return list(made.values())
