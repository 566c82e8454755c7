"""`Session`: an arrangement that grows take by take, in a folder of its own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stage import files, fingerprint
from stage.chords.chart import Chart
from stage.errors import StageError
from stage.generation.performance import Performance
from stage.generation.request import CANDIDATES, Grid, check_many, check_sampling, performance_of
from stage.notes import Note
from stage.session import check, sounds, state
from stage.session import time as timing
from stage.session.form import sections
from stage.session.making import Made, make
from stage.session.recording import begun
from stage.session.resound import resound
from stage.session.state import Book, Recipe, Step, Take, Track
from stage.session.store import Store
from stage.session.verify import Difference, verify, versions

if TYPE_CHECKING:
    from stage.pipeline import EngineName, Progress, Stage

DEFAULT = "player"
"""The model of a session without takes."""
BAND = ("drums", "bass", "keys")
"""Stems of a band where none are chosen."""
SAFER, WILDER = 0.85, 1.1
"""By which the temperature is multiplied for a take like the kept one, and for another."""


class Session(Store):
    """A song and the tracks that are made for it, each with its takes; see docs/workflow.md.

    Every method that changes something writes the session's file once, whole or not at all, and can be undone. Two
    writers at a time are refused. Raises StageError for what cannot be done; nothing is changed then.
    """

    # ------------------------------------------------------------ begin and open

    @classmethod
    def new(
        cls,
        folder: str | Path,
        song: str | Path | None = None,
        *,
        start: float = 0.0,
        seconds: float | None = None,
        stream: int = 0,
        grid: Grid = None,
        chords: str | Path | Chart | None = None,
        tuning: float | str | None = None,
        bpm: float | None = None,
        meter: str = "4/4",
        bars: int = 8,
        rate: int | None = None,
        form: str | None = None,
        extend: float = 0.0,
        model: Stage | str | Path | None = None,
        engine: EngineName = "auto",
    ) -> Session:
        """Begin a session in a new folder: for a recording, or, without one, for a tempo or for beats.

        song: a path; start, seconds, stream: the stretch of it. grid, chords, tuning: as `Stage.accompany` takes them;
        what is not given is tracked or estimated now, and kept. bpm, meter, bars, rate: of a session without a
        recording, where a BeatGrid (its last bar is whole) can stand for the first three. form: sections by bars, like
        "intro 4, verse 8", with energies as in "intro 4 0.2, verse 8 0.6", or "song": found in the recording
        (`stage.session.form`). extend: seconds behind the recording's end, in which its tempo goes on and the chords of
        its last four bars are repeated, so that stems are longer than it. model, engine: see `open`.
        """
        folder = Path(folder)
        if os.path.lexists(folder):
            raise StageError(f"{folder} exists: choose another folder, or go on in it if it is a session")
        audio = None
        if song is None:
            source, time = timing.of_click(bpm, meter, bars, rate, grid, chords)
        else:
            if bpm is not None:
                raise StageError("a session has a song or a tempo, not both")
            source, time, audio = begun(song, folder, start, seconds, stream, grid, chords, tuning, extend)
        if form is not None:
            time = replace(time, sections=sections(form, time, audio, source.rate))
        what = f"new session for {Path(song).name}" if song is not None else "new session"
        book = Book(state.FORMAT, state.VERSION, source, {"time-1": time}, {}, (Step(what, "time-1"),), 0, 1, 1)
        with files.whole_folder(folder) as partial:
            (partial / state.TAKES).mkdir()
            state.write(partial, book)
        return cls(folder, model, engine)

    @classmethod
    def open(cls, folder: str | Path, model: Stage | str | Path | None = None, engine: EngineName = "auto") -> Session:
        """A session that is there. model: what plays new takes; None: what played the last one, or the default. engine:
        what computes it, as for `Stage.from_pretrained`; that of a model that is loaded stays."""
        return cls(folder, model, engine)

    # ------------------------------------------------------------ the model

    @cached_property
    def stage(self) -> Stage:
        """The model that plays; it is loaded when it is first needed."""
        from stage.pipeline import Stage

        return self._given if isinstance(self._given, Stage) else Stage.from_pretrained(self.model, engine=self.engine)

    @property
    def model(self) -> str:
        """Name or folder of the model."""
        if self._given is None:
            last = [self.book.takes[track.kept].recipe.model for track in self.tracks]
            return last[-1] if last else DEFAULT
        if isinstance(self._given, (str, Path)):
            path = Path(self._given)
            return str(path.resolve()) if path.is_dir() else str(self._given)
        return self._given.config.name

    @cached_property
    def weights(self) -> str:
        """Fingerprint of the decoder's weights."""
        return fingerprint.of_weights(self.stage.decoder)

    # ------------------------------------------------------------ steps

    def add(
        self,
        stem: str,
        prompt: str = "",
        takes: int = 1,
        seed: int = 0,
        name: str | None = None,
        performance: Performance | Mapping[str, Any] | None = None,
        sampling: Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
        border_fills: bool = True,
    ) -> Track:
        """A new track: so many takes of a stem, played to the song and to the tracks that are not muted. The first one
        is kept. Where the form has energies, they are its complexity and dynamics, unless others are given.

        seed: of the first take, the others follow. name: of the track, the stem's by default. performance: how it is
        played. sampling: values by name in place of the model's own. border_fills: drums have a fill in the last bar
        of each section, unless fills are asked for.
        """
        how = performance_of(performance)
        how.check(stem)
        check_many(takes, seed)
        check_sampling(**(sampling or {}))
        name = name or self._free(stem)
        self._check_name(name)
        with self.editing():
            self.stage.check(stem, takes, seed)
            if self.stage.events is not None:
                how = timing.shaped(how, self.time, stem, border_fills)
            recipe = Recipe(
                stem,
                seed,
                self.book.step.time,
                self.model,
                self.weights,
                prompt,
                _given(how),
                dict(sampling or {}),
                self._backing(),
                self.song is not None,
            )
            made = self._make([replace(recipe, seed=seed + i) for i in range(takes)], stem, on_progress)
            track = Track(name, stem, tuple(made), next(iter(made)))
            self._commit(f"add {name}", (*self.tracks, track), made)
        return track

    def take(self, track: str, n: int = 1, seed: int | None = None, on_progress: Progress | None = None) -> list[str]:
        """More takes of a track, with other seeds, from what the track was first made from; those that are there stay,
        and so does the one that is kept. Returns their names."""
        found = self._unlocked(track)
        recipe = self._root(found.kept)
        first = self._next_seed(found) if seed is None else seed
        check_many(n, first)
        with self.editing():
            recipe = replace(self._renewed(recipe, found.name), parent=None, regions=(), candidates=1)
            made = self._make([replace(recipe, seed=first + i) for i in range(n)], found.stem, on_progress)
            self._replace(f"{n} more of {track}", self._more(found, made), made)
        return list(made)

    def redo(
        self,
        track: str,
        bars: timing.Spans | None = None,
        seconds: timing.Spans | None = None,
        candidates: int = CANDIDATES,
        seed: int | None = None,
        performance: Performance | Mapping[str, Any] | None = None,
        sampling: Mapping[str, Any] | None = None,
        on_progress: Progress | None = None,
    ) -> str:
        """Play regions of the kept take anew, as a new take, which is kept; outside every sample and note stays.

        bars: a bar, (first, last), or several of these; bar 1 begins with the first downbeat. seconds: the same as
        (start, end). candidates: so many are made of each region, and the one is taken after which the model finds what
        follows the likeliest. performance, sampling: in place of those of the take. Returns the new take's name.
        """
        found = self._unlocked(track)
        recipe = self.book.takes[found.kept].recipe
        regions = timing.regions(self.time, bars, seconds, self.seconds)
        if not 1 <= candidates <= 64:
            raise StageError(f"{candidates} candidates cannot be made: choose 1 to 64")
        if performance is not None:
            how = performance_of(performance)
            how.check(found.stem)
            recipe = replace(recipe, performance=_given(how))
        check_sampling(**(sampling or {}))
        recipe = replace(recipe, sampling=recipe.sampling | dict(sampling or {}))
        with self.editing():
            made = self._redone(found, recipe, regions, candidates, seed, 1, on_progress)
            name = next(iter(made))
            where = ", ".join(f"{start:.2f} to {end:.2f} s" for start, end in regions)
            self._replace(f"redo {track}, {where}", replace(found, takes=(*found.takes, name), kept=name), made)
        return name

    def like(self, track: str, n: int = 1, bars: int = 2, on_progress: Progress | None = None) -> list[str]:
        """More takes like the kept one: its first bars stay (the first half of a shorter piece), and what follows is
        played anew after them, at a lower temperature. Returns their names; the kept one stays."""
        found = self._unlocked(track)
        starts = timing.downbeats(self.time)
        if len(starts) < 2:
            raise StageError("another take like this one needs two bars or more, and the beats to count them")
        border = float(starts[min(max(1, bars), max(1, len(starts) // 2))])
        recipe = self.book.takes[found.kept].recipe
        check_many(n, 0)
        with self.editing():
            recipe = self._warmer(recipe, SAFER)
            made = self._redone(found, recipe, ((border, self.seconds),), 1, None, n, on_progress)
            self._replace(f"{n} like take {self._number(found)} of {track}", self._more(found, made), made)
        return list(made)

    def other(self, track: str, n: int = 1, tries: int = 4, on_progress: Progress | None = None) -> list[str]:
        """More takes that are unlike those that are there: of `tries` for each, at a higher temperature, the ones with
        the most other notes (`stage.session.check.distance`). Returns their names; the kept one stays."""
        found = self._unlocked(track)
        if any(self.book.takes[name].notes is None for name in found.takes):
            raise StageError("takes that were made as sound cannot be compared by their notes: make more of them")
        check_many(n * tries, 0)
        with self.editing():
            recipe = self._renewed(self._root(found.kept), found.name)
            recipe = self._warmer(recipe, WILDER)
            first = self._next_seed(found)
            recipes = [replace(recipe, seed=first + i) for i in range(n * tries)]
            tried = make(self.stage, recipes, self.scene(), on_progress)
            there = [self._notes(name) for name in found.takes]
            chosen: list[int] = []
            for _ in range(n):
                rest = [i for i in range(len(tried)) if i not in chosen]
                known = there + [tried[i].notes or () for i in chosen]
                chosen.append(max(rest, key=lambda i: min(self._distance(tried[i].notes or (), k) for k in known)))
            made = self._make([recipes[i] for i in chosen], found.stem, None, [tried[i] for i in chosen])
            self._replace(f"{n} unlike those of {track}", self._more(found, made), made)
        return list(made)

    def resound(self, track: str, instrument: str) -> str:
        """Play the notes of the kept take on another instrument (of drums: kit), as a new take, which is kept; it is as
        loud as it was. instrument: a shipped one, or an SFZ or SF2 file. No model is loaded. Returns the take's name.
        """
        found = self._unlocked(track)
        kept = self.book.takes[found.kept]
        if instrument == kept.instrument:
            raise StageError(f"{track} is played on {instrument} already: choose another")
        with self.editing():
            recipe = replace(kept.recipe, parent=found.kept, regions=(), candidates=1, instrument=instrument)
            made = self._make([recipe], found.stem, None, [resound(recipe, self.scene())])
            name = next(iter(made))
            self._replace(f"{track} on {instrument}", replace(found, takes=(*found.takes, name), kept=name), made)
        return name

    def band(
        self,
        stems: Sequence[str] = BAND,
        prompt: str = "",
        takes: int = 1,
        seed: int = 0,
        on_progress: Callable[[str, float], bool | None] | None = None,
    ) -> list[Track]:
        """A track of each stem, in this order: each is played to the song and to those before it.

        takes: of each, of which the one with the best quick check is kept. on_progress: called with the stem and the
        share of it that is done. Returns the tracks; each is a step of its own.
        """
        if not stems:
            raise StageError("a band needs stems: name some, like drums,bass,keys")
        for stem in stems:
            performance_of({}).check(stem)
        check_many(takes, seed)
        for stem in stems:
            self.stage.check(stem)
        made = []
        for stem in stems:

            def on_share(share: float, stem: str = stem) -> bool | None:
                return on_progress(stem, share) if on_progress else None

            track = self.add(stem, prompt, takes, seed, on_progress=on_share)
            best = self.ranked(track.name)[0]
            made.append(track if best == track.kept else self.keep(track.name, best))
        return made

    # ------------------------------------------------------------ made again

    def verify(
        self, again: bool = True, on_take: Callable[[str, float], None] | None = None, mend: bool = False
    ) -> list[Difference]:
        """What differs: a song or a file that is not what it was, and, with `again`, takes that come out otherwise when
        they are made again by their recipes. mend: make files again that are missing or were changed; what cannot be
        made again as it was stays as it is. on_take: called with a take's name and the share that is done."""
        return verify(self, again, on_take, mend)

    # ------------------------------------------------------------ recipes

    def _make(
        self, recipes: Sequence[Recipe], stem: str, on_progress: Progress | None, made: Sequence[Made] = ()
    ) -> dict[str, Take]:
        """Takes of recipes, written to the disk but in no book yet."""
        made = made or make(self.stage, recipes, self.scene(), on_progress)
        time, channels, taken = self.book.times[recipes[0].time], self.scene().channels, {}
        for i, (recipe, one) in enumerate(zip(recipes, made)):
            name = f"{stem.replace('/', '-')}-{self.book.made + 1 + i:03d}"
            audio, notes = sounds.write(self.folder / state.TAKES, name, one.audio, self.rate, one.notes)
            by = versions() if recipe.instrument else versions(self.stage)
            said = check.figures(one.audio, self.rate, one.notes, stem, time.grid, time.chart, channels)
            taken[name] = Take(recipe, audio, notes, one.instrument, one.gain, said, one.remarks, by)
        return taken

    def _redone(
        self,
        track: Track,
        recipe: Recipe,
        regions: tuple[tuple[float, float], ...],
        candidates: int,
        seed: int | None,
        n: int,
        on_progress: Progress | None,
    ) -> dict[str, Take]:
        """Takes of the kept one with regions that are played anew, to all other tracks."""
        first = self._next_seed(track) if seed is None else seed
        check_many(n, first)
        recipe = replace(
            self._renewed(recipe, track.name),
            backing=self._backing(track.name),
            parent=track.kept,
            regions=regions,
            candidates=candidates,
            instrument="",
        )
        return self._make([replace(recipe, seed=first + i) for i in range(n)], track.stem, on_progress)

    def _next_seed(self, track: Track) -> int:
        return max(self.book.takes[name].recipe.seed for name in track.takes) + 1

    def _more(self, track: Track, made: Mapping[str, Take]) -> Track:
        return replace(track, takes=(*track.takes, *made))

    def _number(self, track: Track) -> int:
        return track.takes.index(track.kept) + 1

    def _distance(self, first: tuple[Note, ...], second: tuple[Note, ...]) -> float:
        return check.distance(first, second, self.grid, self.seconds)

    def _root(self, take: str) -> Recipe:
        """The recipe that a take began with, before its regions were redone."""
        takes = self.book.takes
        return state.root(takes[take].recipe, takes.__getitem__)

    def _warmer(self, recipe: Recipe, factor: float) -> Recipe:
        """A recipe whose temperature, the stem's own where it has none, is multiplied."""
        usual = recipe.sampling.get("temperature", self.stage.sampling(stem=recipe.stem).temperature)
        return replace(recipe, sampling=recipe.sampling | {"temperature": round(factor * usual, 4)})

    def _renewed(self, recipe: Recipe, track: str) -> Recipe:
        """A recipe in the time and with the model of now, to what stands before its track now."""
        return replace(
            recipe,
            time=self.book.step.time,
            model=self.model,
            weights=self.weights,
            backing=self._before(track),
            song=self.song is not None,
        )


def _given(performance: Performance) -> dict[str, Any]:
    """The values of a performance that are asked for, as JSON has them."""
    values = {field.name: getattr(performance, field.name) for field in dataclasses.fields(performance)}
    made = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    usual = {field.name: field.default for field in dataclasses.fields(performance)}
    return {name: value for name, value in made.items() if value not in (usual[name], [])}
