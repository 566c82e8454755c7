"""What a job does, in a process of its own: `build` makes what does the jobs of a lane.

A job lists the takes that it will write before it writes them (its journal), so that one that is done again after a
crash goes on where it was.
"""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import stage
from stage import files
from stage.errors import StageError
from stage.models import malloc
from stage.parallel import Report

if TYPE_CHECKING:
    from stage.pipeline import Stage
    from stage.session.shared import SharedSession
    from stage.session.state import Track

PLAY, PREPARE = "play", "prepare"
LANE = {"prepare": PREPARE, "export": PREPARE, "sound": PREPARE}
"""The lane of each kind of job without a model; all others play, one after the other, with one model in memory."""
KINDS = {"wav": ("stems", "mix"), "reaper": ("rpp",)}
"""What a format of an export is called in `stage.session`, where that is another name."""
WEB = "web"
"""Folder in a session's for what the server adds: exports, clicks, journals."""


def build(data: str, precision: str, threads: int) -> Callable[[dict[str, Any], Report], dict[str, Any]]:
    """What does jobs. data: the server's folder. It is called before torch is imported."""
    stage.deterministic()
    malloc.keep()
    return Jobs(Path(data), precision)


class Jobs:
    """Does one job after another; the model of the last one stays loaded."""

    def __init__(self, data: Path, precision: str):
        self.data, self.precision = data, precision
        self._loaded: tuple[str, Stage, str] | None = None

    def __call__(self, task: dict[str, Any], report: Report) -> dict[str, Any]:
        """Do a job: {"id", "do", "session", "wish", "model"} -> its result; {"cancelled": True} if it was stopped."""
        if task["do"] == "warm":
            self._model(task["model"])
            return {}
        if task["do"] == "prepare":
            from stage.web.preparing import prepare

            return prepare(self.data, task)
        folder = self.data / "sessions" / task["session"]
        if task["do"] == "export":
            return export(folder, task)
        if task["do"] == "sound":
            return resound(folder, task)
        from stage.generation.decoding import Stopped

        try:
            return self._play(folder, task, report)
        except Stopped:
            return {"cancelled": True}

    def _play(self, folder: Path, task: dict[str, Any], report: Report) -> dict[str, Any]:
        from stage.session.shared import SharedSession

        journal = Journal(folder / WEB / "journal" / f"{task['id']}.json")
        session = SharedSession(folder, task["model"], grouped=True, on_commit=journal.add)
        done = journal.done(session)
        playing = Playing(session, task, report, done, self.data / "live")
        if playing.left():
            session.stage, session.weights = self._model(session.model)
        try:
            made = playing.play()
        except StageError:  # it is not done again
            journal.remove()
            raise
        finally:
            playing.silence()
        journal.remove()
        return made

    def _model(self, name: str) -> tuple[Stage, str]:
        """A loaded model and the fingerprint of its weights; the one before is given back first."""
        from stage import fingerprint
        from stage.pipeline import Stage

        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None
            malloc.trim()
            loaded = Stage.from_pretrained(name, precision=cast(Any, self.precision))
            self._loaded = name, loaded, fingerprint.of_weights(loaded.decoder)
        return self._loaded[1:]


class Journal:
    """The names of takes that a job was about to write."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.names: list[str] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.names = []

    def add(self, names: Sequence[str]) -> None:
        self.names += names
        files.write_json(self.path, self.names)

    def done(self, session: SharedSession) -> list[str]:
        """Those that were written and are still in a track."""
        there = {take for track in session.tracks for take in track.takes}
        return [name for name in self.names if name in there]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class Playing:
    """A job that makes takes, one at a time. done: takes that it made before it was interrupted."""

    def __init__(self, session: SharedSession, task: dict[str, Any], report: Report, done: list[str], live: Path):
        self.session, self.wish, self.report = session, task["wish"], report
        self.do, self.id, self.made, self.live = task["do"], task["id"], done, live
        stems = len(self.wish["stems"]) if self.do == "band" else 1
        self.count = 1 if self.do == "redo" else stems * int(self.wish.get("n") or self.wish.get("takes") or 1)
        self._sound: LiveSound | None = None
        if self.do in ("add", "take", "band"):
            session.on_sound = self._on_sound

    def left(self) -> int:
        """Takes that are still to be made."""
        return self.count - len(self.made)

    def play(self) -> dict[str, Any]:
        track = self._track_of(self.made[-1]) if self.made else None
        while self.left() > 0:
            self.session.refresh()
            track = self._next()
            self.silence()
            self.report({"takes": self.made, "track": track})
        return {"track": track, "takes": self.made}

    def _next(self) -> str:
        """Make the next take; returns the name of its track."""
        wish, session, i = self.wish, self.session, len(self.made)
        if self.do in ("add", "band"):
            takes = int(wish["takes"])
            if i % takes == 0:
                session.grouped, session._written = True, None
                name = self._add(wish["stems"][i // takes] if self.do == "band" else wish["stem"])
            else:
                name = self._track_of(self.made[-1])
                self.made += session.take(name, 1, self._seed(i % takes), self._progress)
            if self.do == "band" and (i + 1) % takes == 0 and takes > 1:
                self._keep_best(name)
            return name
        track = wish["track"] if not self.made else self._track_of(self.made[-1])
        if self.do == "take":
            seed = wish["seed"]
            self.made += session.take(track, 1, None if seed is None else seed + i, self._progress)
        elif self.do == "like":
            self.made += session.like(track, 1, on_progress=self._progress)
        elif self.do == "other":
            self.made += session.other(track, 1, on_progress=self._progress)
        else:
            regions = [_spans(wish["bars"]), _spans(wish["seconds"])]
            how = {key: wish[key] for key in ("candidates", "seed", "performance", "sampling")}
            self.made.append(session.redo(track, *regions, **how, on_progress=self._progress))
        return track

    def _add(self, stem: str) -> str:
        wish = self.wish
        options = {key: wish[key] for key in ("name", "performance", "sampling") if key in wish}
        track = self.session.add(stem, wish["prompt"], 1, self._seed(0), **options, on_progress=self._progress)
        self.made.append(track.takes[0])
        return self._track_of(track.takes[0])

    def _seed(self, i: int) -> int:
        return int(self.wish["seed"] or 0) + i

    def _keep_best(self, name: str) -> None:
        best = self.session.ranked(name)[0]
        if best != self.session.track(name).kept:
            self.session.keep(name, best)

    def _track_of(self, take: str) -> str:
        found: list[Track] = [track for track in self.session.tracks if take in track.takes]
        if not found:
            raise StageError("the track was removed meanwhile: what was left of the job was not made")
        return found[0].name

    def _progress(self, share: float) -> bool:
        return self.report({"share": (len(self.made) + min(1.0, share)) / max(1, self.count)})

    def _on_sound(self, chunk: np.ndarray) -> None:
        if self._sound is None:
            path = self.live / f"{self.id}-{len(self.made) + 1}.wav"
            self._sound = LiveSound(path, self.session.rate, len(chunk))
            self.report({"live": len(self.made) + 1})
        self._sound.write(chunk)

    def silence(self) -> None:
        """The take that was being made is there, or will not be."""
        if self._sound is not None:
            self._sound.close()
            self._sound = None


class LiveSound:
    """A WAV file of 16 bits and unknown length that grows; when it is whole its name ends in .whole."""

    def __init__(self, path: Path, rate: int, channels: int):
        self.path = path
        path.with_suffix(".whole").unlink(missing_ok=True)
        self.file = open(path, "wb")
        unknown, block = 0xFFFFFFFF, 2 * channels
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * block, block, 16)
        self.file.write(struct.pack("<4sI4s", b"RIFF", unknown, b"WAVE") + form + struct.pack("<4sI", b"data", unknown))
        self.file.flush()

    def write(self, chunk: np.ndarray) -> None:
        self.file.write((np.clip(chunk, -1, 1).T * 32767).astype("<i2").tobytes())
        self.file.flush()

    def close(self) -> None:
        self.file.close()
        self.path.rename(self.path.with_suffix(".whole"))


def _spans(given: list[list[float]] | None) -> Any:
    return None if given is None else [tuple(pair) for pair in given]


def resound(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Play the kept take of a track on another instrument; one that is done again finds the take that it made."""
    from stage.session.shared import SharedSession

    wish = task["wish"]
    journal = Journal(folder / WEB / "journal" / f"{task['id']}.json")
    session = SharedSession(folder, on_commit=journal.add)
    names = journal.done(session) or [session.resound(wish["track"], wish["instrument"])]
    journal.remove()
    return {"track": wish["track"], "takes": names}


def export(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Write a ZIP of what the session makes for other programs; its name in the session's folder is the result."""
    from dataclasses import replace

    from stage.session.handoff.export import export as write
    from stage.session.handoff.export import file_name
    from stage.session.store import Store

    wish, name = task["wish"], file_name(task["name"])
    kinds = dict.fromkeys(kind for one in wish["formats"] for kind in KINDS.get(one, (one,)))
    arrangement = replace(Store(folder).arrangement(), name=name)
    place = folder / WEB / "exports" / task["id"]
    shutil.rmtree(place, ignore_errors=True)
    made = place / name
    write(arrangement, made, tuple(kinds), wish["sound"])
    path = place.with_suffix(".zip")
    with files.whole_file(path, force=True) as partial, open(partial, "wb") as raw:
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(made.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(place))
    shutil.rmtree(place, ignore_errors=True)
    return {"file": f"{WEB}/exports/{path.name}", "kind": "export"}
