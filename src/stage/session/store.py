"""What of a session plays nothing: what is there, takes that are kept, undo, the file and its lock, hand-off."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stage import audio as sound
from stage import files, fingerprint
from stage.beats.grid import BeatGrid
from stage.errors import MissingFile, StageError
from stage.notes import Note
from stage.session import sounds, state
from stage.session import time as timing
from stage.session.form import sections
from stage.session.handoff.arrangement import Arrangement, Strip
from stage.session.handoff.export import TAKEN, USUAL, export
from stage.session.making import Scene, pieces, program
from stage.session.state import Backing, Book, Click, Song, Step, Take, Time, Track

if TYPE_CHECKING:
    from stage.chords.chart import Chart
    from stage.generation.request import Grid
    from stage.pipeline import EngineName, Stage

_TAKE_FILE = re.compile(r"(.+-\d{3,})\.(flac|json)")
BUSY = "another program that changes this session"


class Store:
    """A session's folder and what is in it; `stage.session.Session` adds what plays."""

    def __init__(self, folder: str | Path, model: Stage | str | Path | None = None, engine: EngineName = "auto"):
        self.folder, self.book = Path(folder), state.read(folder)
        self._given = model
        self.engine: EngineName = engine

    def __repr__(self) -> str:
        return f"Session({str(self.folder)!r}, tracks={[track.name for track in self.tracks]})"

    # ------------------------------------------------------------ what is there

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks, in their order."""
        return self.book.step.tracks

    @property
    def time(self) -> Time:
        """Beats, chords, tuning and form."""
        return self.book.times[self.book.step.time]

    @property
    def grid(self) -> BeatGrid | None:
        return self.time.grid

    @property
    def rate(self) -> int:
        """Hz of all sound."""
        return self.book.source.rate

    @property
    def seconds(self) -> float:
        """Length of all sound."""
        return self.book.source.samples / self.rate

    @cached_property
    def song(self) -> np.ndarray | None:
        """The recording float32 [C, N], None where there is none. Raises StageError where it is not found, or is
        another than it was."""
        source = self.book.source
        if isinstance(source, Click):
            return None
        path = self._find_song(source)
        held = source.samples - source.beyond
        audio, rate = sound.read(path, source.start, held / source.rate, source.stream)
        if (rate, *audio.shape) != (source.rate, source.channels, held):
            raise StageError(f"{path} holds other sound than when the session began: its decoder has changed")
        return sound.fit(audio, source.samples)

    def _find_song(self, source: Song) -> Path:
        name = Path(source.path).name
        places = (self.folder / source.relative, Path(source.path), self.folder / name, self.folder.parent / name)
        found = [path for path in places if path.is_file()]
        for path in found:
            if fingerprint.of_files(path) == source.checksum:
                return path
        why = f"{found[0]} is another file than when the session began" if found else f"{source.path} is not there"
        raise MissingFile(f"the session's song is missing: {why}. Name it: stage session song PATH")

    def track(self, name: str) -> Track:
        """A track by its name. Raises StageError where there is none."""
        for track in self.tracks:
            if track.name == name:
                return track
        known = ", ".join(track.name for track in self.tracks)
        raise StageError(f'there is no track "{name}": ' + (f"there are {known}" if known else "add one first"))

    def takes(self, track: str) -> dict[str, Take]:
        """The takes of a track, by name, in the order in which they were made."""
        return {name: self.book.takes[name] for name in self.track(track).takes}

    def ranked(self, track: str) -> list[str]:
        """The names of a track's takes, the best score of the quick check first (`stage.session.check`)."""
        takes = self.takes(track)
        return sorted(takes, key=lambda name: -takes[name].check.get("score", 0.0))

    def sound(self, track: str, take: str | int | None = None) -> np.ndarray:
        """A take's sound, the kept one's by default: float32 [C, N], without the track's gain and pan."""
        return self._sound(self._name(self.track(track), take))

    def notes(self, track: str, take: str | int | None = None) -> tuple[Note, ...]:
        """A take's notes, the kept one's by default; none of a model of audio codes."""
        return self._notes(self._name(self.track(track), take))

    def mix(self) -> np.ndarray:
        """Song and all tracks that are not muted, with their gains and pans, by one gain below full scale:
        float32 [C, N]."""
        return self.arrangement().mix()

    def _name(self, track: Track, take: str | int | None) -> str:
        """The name of a track's take, given by name, by its number from 1 on, or None: the kept one."""
        if take is None:
            return track.kept
        text = str(take)
        if text in track.takes:
            return text
        if text.isdigit() and 1 <= int(text) <= len(track.takes):
            return track.takes[int(text) - 1]
        raise StageError(f"{track.name} has no take {text}: it has {len(track.takes)}, from 1 on")

    def _sound(self, name: str) -> np.ndarray:
        return sounds.read(self.folder / state.TAKES, name)

    def _notes(self, name: str) -> tuple[Note, ...]:
        return () if self.book.takes[name].notes is None else sounds.read_notes(self.folder / state.TAKES, name)

    def scene(self) -> Scene:
        """What takes are made from."""
        source = self.book.source
        return Scene(
            self.song,
            self.rate,
            source.samples,
            isinstance(source, Song) and not source.beyond,
            self.book.times,
            self._sound,
            self._notes,
            self.book.takes.__getitem__,
        )

    # ------------------------------------------------------------ steps that play nothing

    def keep(self, track: str, take: str | int) -> Track:
        """Keep another take of a track; its number counts from 1."""
        found = self._unlocked(track)
        name = self._name(found, take)
        with self.editing():
            return self._replace(f"keep take {found.takes.index(name) + 1} of {track}", replace(found, kept=name))

    def change(
        self,
        track: str,
        *,
        gain: float | None = None,
        pan: float | None = None,
        mute: bool | None = None,
        lock: bool | None = None,
        name: str | None = None,
    ) -> Track:
        """Set a track's gain in dB, pan (-1 left, 1 right), mute, lock or name. A locked track can only be unlocked."""
        found = self.track(track) if lock is False else self._unlocked(track)
        low, high = -state.GAIN_LEAST, state.GAIN_MOST
        if gain is not None and not low <= gain <= high:
            raise StageError(f"a gain of {gain:g} dB is out of range: choose {low:g} to {high:g}")
        if pan is not None and not -1 <= pan <= 1:
            raise StageError(f"a pan of {pan:g} is out of range: choose -1 (left) to 1 (right)")
        if name is not None and name != track:
            self._check_name(name)
        given = dict(gain=gain, pan=pan, mute=mute, lock=lock, name=name)
        values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if not values:
            raise StageError("nothing is to be changed: name a gain, a pan, mute, lock or a name")
        with self.editing():
            said = ", ".join(f"{key} {value}" for key, value in values.items())
            tracks = [replace(found, **values) if t.name == track else t for t in self.tracks]
            self._commit(f"{track}: {said}", tracks)
        return self.track(name or track)

    def move(self, track: str, to: int) -> None:
        """Put a track at a place in the list, from 1 on. What is made later is played to it accordingly."""
        found = self.track(track)
        if not 1 <= to <= len(self.tracks):
            raise StageError(f"there is no place {to}: choose 1 to {len(self.tracks)}")
        tracks = [t for t in self.tracks if t.name != track]
        if self.tracks[to - 1].name == track:
            raise StageError(f"{track} is at place {to} already: choose another")
        with self.editing():
            self._commit(f"move {track}", [*tracks[: to - 1], found, *tracks[to - 1 :]])

    def remove(self, track: str) -> None:
        """Take a track out of the arrangement."""
        self._unlocked(track)
        with self.editing():
            self._commit(f"remove {track}", [t for t in self.tracks if t.name != track])

    def mend(
        self,
        *,
        grid: Grid = None,
        shift: int = 0,
        chords: str | Path | Chart | None = None,
        form: str | None = None,
    ) -> Time:
        """Other beats, chords or sections for what is made from now on; takes that are there stay as they are.

        grid: "half" or "double" of the beats, or a BeatGrid; shift: the downbeats come so many beats later (earlier if
        negative). chords: text, a file or a chart. form: as in `Session.new`. Times of beats and files count from the
        recording's beginning.
        """
        if grid is None and not shift and chords is None and form is None:
            raise StageError("nothing is to be mended: name beats, a shift, chords or a form")
        start = getattr(self.book.source, "start", 0.0)
        time = timing.mended(self.time, self.seconds, grid, shift, chords, start)
        if form is not None:
            source = self.book.source
            held = source.samples - (source.beyond if isinstance(source, Song) else 0)
            song = None if self.song is None else self.song[:, :held]
            time = replace(time, sections=sections(form, time, song, self.rate))
        with self.editing():
            names = {"beats": grid is not None, f"shift {shift}": shift, "chords": chords, "form": form}
            self._commit("mend " + ", ".join(name for name, given in names.items() if given), self.tracks, time=time)
        return self.time

    def undo(self) -> str:
        """Go one step back. Returns what was undone."""
        return self._go(-1, "nothing is left to undo")

    def redo_step(self) -> str:
        """Do again what was undone last. Returns what it was."""
        return self._go(1, "nothing was undone")

    def relink(self, song: str | Path) -> None:
        """Say where the session's song lies now. Raises StageError for another file."""
        source = self.book.source
        if not isinstance(source, Song):
            raise StageError("this session has no song")
        if not Path(song).is_file():
            raise MissingFile(f"{song} does not exist")
        if fingerprint.of_files(song) != source.checksum:
            raise StageError(f"{song} is another file than the one that the session began with")
        with self.editing():
            path = Path(song).resolve()
            moved = replace(source, path=str(path), relative=os.path.relpath(path, self.folder.resolve()))
            self._write(replace(self.book, source=moved, changes=self.book.changes + 1))

    # ------------------------------------------------------------ hand-off

    def arrangement(self) -> Arrangement:
        """All tracks, with the song, as other programs are given them."""
        scene, source, time = self.scene(), self.book.source, self.time
        strips = [] if scene.song is None else [Strip("song", scene.song, song=True)]
        for track in self.tracks:
            take = self.book.takes[track.kept]
            notes = None if take.notes is None else self._notes(track.kept)
            strip = Strip(
                track.name,
                self._sound(track.kept),
                notes,
                track.stem,
                program(track.stem, take.instrument),
                track.gain,
                track.pan,
                track.mute,
                partial(pieces, take, notes, scene) if track.stem == "drums" and notes is not None else None,
            )
            strips.append(strip)
        starts = timing.downbeats(time)
        markers = tuple((float(starts[section.bar - 1]), section.name) for section in time.sections)
        name = self.folder.resolve().name
        start = 0
        if isinstance(source, Song):
            name, start = Path(source.path).stem, round(source.start * source.rate)
        return Arrangement(name, self.rate, source.samples, tuple(strips), self.grid, time.chart, markers, start)

    def export(
        self, folder: str | Path, *kinds: str, format: str = "wav", force: bool = False, count_in: int = 0
    ) -> list[Path]:
        """Write stems, mix, MIDI and projects into a new folder (`stage.session.handoff.export`); returns the paths.
        count_in: bars of clicks before the music, in all files."""
        return export(self.arrangement(), folder, kinds or USUAL, format, force, count_in)

    # ------------------------------------------------------------ steps of steps

    @contextlib.contextmanager
    def editing(self) -> Iterator[None]:
        """Hold the session for this process. Raises StageError where another holds it, or changed it."""
        with files.lock(self.folder, BUSY):
            if state.read(self.folder).changes != self.book.changes:
                raise StageError(f"{self.folder} was changed by another program since it was opened: open it again")
            self._sweep()
            yield

    def _commit(
        self,
        what: str,
        tracks: Sequence[Track],
        takes: Mapping[str, Take] | None = None,
        time: Time | None = None,
    ) -> None:
        """Write the next step, and remove the files of takes that no step names any more."""
        made, times = self.book.made + len(takes or {}), {}
        at = self.book.step.time
        if time is not None:
            made += 1
            at = f"time-{made}"
            times[at] = time
        self._write(self.book.stepped(Step(what, at, tuple(tracks)), dict(takes or {}), times, made))
        self._sweep()

    @property
    def _found(self) -> Sequence[Track]:
        """The tracks on which the step in progress is made."""
        return self.tracks

    def _replace(self, what: str, track: Track, takes: Mapping[str, Take] | None = None) -> Track:
        self._commit(what, [track if t.name == track.name else t for t in self._found], takes)
        return track

    def _write(self, book: Book) -> None:
        state.write(self.folder, book)
        self.book = book

    def _sweep(self) -> None:
        for path in (self.folder / state.TAKES).glob("*"):
            named = _TAKE_FILE.fullmatch(path.name)
            if named and named[1] not in self.book.takes:
                path.unlink(missing_ok=True)

    def _go(self, by: int, nothing: str) -> str:
        with self.editing():
            at = self.book.at + by
            if not 0 <= at < len(self.book.history):
                raise StageError(nothing)
            what = self.book.history[max(at, self.book.at)].what
            self._write(replace(self.book, at=at, changes=self.book.changes + 1))
        return what

    def _unlocked(self, name: str) -> Track:
        track = self.track(name)
        if track.lock:
            raise StageError(f"the track {name} is locked: unlock it first (stage session track {name} --unlock)")
        return track

    def _backing(self, without: str | None = None) -> tuple[Backing, ...]:
        """What a new take is played to: the kept takes of the tracks that are not muted."""
        return tuple(Backing(t.kept, t.gain, t.pan) for t in self.tracks if not t.mute and t.name != without)

    def _before(self, name: str) -> tuple[Backing, ...]:
        """The same of the tracks before one."""
        before = self.tracks[: [track.name for track in self.tracks].index(name)]
        return tuple(Backing(t.kept, t.gain, t.pan) for t in before if not t.mute)

    def _free(self, stem: str) -> str:
        """A name for a track of a stem."""
        taken = {track.name for track in self.tracks}
        plain = stem.replace("/", "-")
        return plain if plain not in taken else next(n for i in range(2, 1000) if (n := f"{plain}-{i}") not in taken)

    def _check_name(self, name: str) -> None:
        if not re.fullmatch(r"[^\W_][\w .+-]{0,60}", name):
            raise StageError(f'a track cannot be called "{name}": use letters, digits, blanks and hyphens')
        if any(name.lower() == taken for taken in (*TAKEN, *(track.name.lower() for track in self.tracks))):
            raise StageError(f"there is a track {name} already: choose another name")
