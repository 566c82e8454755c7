"""Sessions and jobs as the API shows them."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stage.errors import StageError
from stage.session import state
from stage.session.session import DEFAULT
from stage.session.state import Book, Song, Track
from stage.web import jobs as kinds
from stage.web import queue
from stage.web.database import RUNNING, WAITING, Database, Row
from stage.web.settings import Settings

FAILED_LATELY = 600.0
"""Seconds for which a session shows a job that failed."""
BOOKS_MOST = 64
WRITTEN_MOST = 256
"""Sessions and jobs that are kept as they were last sent."""


class Books:
    """The books of sessions, read again where they changed."""

    def __init__(self) -> None:
        self._books: OrderedDict[Path, tuple[tuple[int, int], Book]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, folder: Path) -> Book:
        """A session's book. Raises StageError where it cannot be read."""
        try:
            found = (folder / state.FILE).stat()
        except OSError:
            raise StageError(f"the session's file is missing: {state.FILE} was removed from its folder") from None
        mark = found.st_mtime_ns, found.st_ino
        with self._lock:
            known = self._books.get(folder)
        if known is None or known[0] != mark:
            known = mark, state.read(folder)
        with self._lock:
            self._books[folder] = known
            self._books.move_to_end(folder)
            while len(self._books) > BOOKS_MOST:
                self._books.popitem(last=False)
        return known[1]


class Documents:
    """Makes what the API shows from the database and the sessions' folders."""

    def __init__(self, settings: Settings, database: Database, books: Books):
        self.settings, self.database, self.books = settings, database, books
        self._written: OrderedDict[str, tuple[tuple[int, int], bytes, str]] = OrderedDict()
        self._lock = threading.Lock()

    # ------------------------------------------------------------ jobs

    def job(self, row: Row, lines: dict[str, list[str]] | None = None) -> dict[str, Any]:
        """A job. lines: ids that wait in each lane, where they are known."""
        position = None
        if row["state"] == WAITING:
            lane = row["lane"]
            line = (lines or {}).get(lane) or [one["id"] for one in queue.line(self.database, lane)]
            position = line.index(row["id"]) if row["id"] in line else 0
        return {key: row[key] for key in ("id", "session", "do", "title", "state", "share", "error", "result")} | {
            "position": position,
            "live": row["live"] if row["state"] == RUNNING else None,
            "track": row["wish"].get("track"),
            "stem": stem_of(row),
            "left": None if row["remaining"] is None else round(row["remaining"], 1),
            "made": iso(row["made"]),
        }

    def jobs(self, session: str) -> list[dict[str, Any]]:
        """Jobs of a session that have not ended, or failed lately."""
        rows = self.database.jobs(session, time.time() - FAILED_LATELY)
        return self.all_jobs(rows)

    def all_jobs(self, rows: list[Row]) -> list[dict[str, Any]]:
        lanes = {row["lane"] for row in rows if row["state"] == WAITING}
        lines = {lane: [one["id"] for one in queue.line(self.database, lane)] for lane in lanes}
        return [self.job(row, lines) for row in rows]

    # ------------------------------------------------------------ sessions

    def book(self, id: str) -> Book:
        return self.books.read(self.settings.sessions / id)

    def line(self, row: Row) -> dict[str, Any]:
        """A session in a list."""
        made = {key: row[key] for key in ("id", "name", "state")} | {"changed": iso(row["changed"])}
        made["kind"] = "click" if row["song"] is None else "song"
        if row["state"] != "ready":
            return made | {"seconds": None, "tracks": 0}
        try:
            book = self.book(row["id"])
        except StageError:
            return made | {"state": "failed", "seconds": None, "tracks": 0}
        return made | {"seconds": book.source.samples / book.source.rate, "tracks": len(book.step.tracks)}

    def written(self, row: Row) -> tuple[bytes, str]:
        """A whole session as JSON, and a mark of it; written once for all who ask before anything changes."""
        return self._once(row["id"], lambda: self.session(row))

    def written_job(self, row: Row) -> bytes:
        """A job as JSON, written once in the same way."""
        return self._once(row["id"], lambda: self.job(row))[0]

    def _once(self, id: str, make: Callable[[], dict[str, Any]]) -> tuple[bytes, str]:
        now = self.database.seq, int(time.time() // 60)
        with self._lock:
            known = self._written.get(id)
        if known is None or known[0] != now:
            body = json.dumps(make()).encode()
            known = now, body, f'"{zlib.crc32(body):08x}"'
            with self._lock:
                self._written[id] = known
                self._written.move_to_end(id)
                while len(self._written) > WRITTEN_MOST:
                    self._written.popitem(last=False)
        return known[1:]

    def session(self, row: Row) -> dict[str, Any]:
        """A whole session."""
        wish, song = row["wish"], None
        if row["song"] is not None:
            song = self.database.song(row["song"])
        source = {"kind": "click" if row["song"] is None else "song", "name": row["name"], "file": None}
        if song is not None:
            source["name"] = song["name"]
        made: dict[str, Any] = {
            "id": row["id"],
            "name": row["name"],
            "state": row["state"],
            "error": row["error"],
            "revision": 0,
            "seconds": None,
            "rate": None,
            "channels": None,
            "model": row["model"] or self.settings.model,
            "source": source,
            "click": None,
            "time": None,
            "tracks": [],
            "undo": None,
            "again": None,
            "jobs": self.jobs(row["id"]),
        }
        if row["state"] != "ready":
            return made
        try:
            return made | self._ready(row, wish, source)
        except StageError as error:
            return made | {"state": "failed", "error": str(error)}

    def _ready(self, row: Row, wish: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
        """What is known of a session that was prepared."""
        book = self.book(row["id"])
        at, folder = book.step, f"sessions/{row['id']}"
        takes = {name for track in at.tracks for name in track.takes}
        wanted = [("take", f"{folder}/{state.TAKES}/{name}.flac") for name in takes]
        wanted += [("notes", f"{folder}/{state.TAKES}/{name}.json") for name in takes if book.takes[name].notes]
        grid, click = book.times[at.time].grid, ("click", f"{folder}/{kinds.WEB}/click-{at.time}.flac")
        song = "song", self._song_path(row, wish, folder) or ""
        ids = self.database.file_ids(row["id"], [*wanted, *([click] if grid else []), *([song] if song[1] else [])])
        return {
            "revision": book.changes,
            "seconds": book.source.samples / book.source.rate,
            "rate": book.source.rate,
            "channels": book.source.channels if isinstance(book.source, Song) else 2,
            "model": row["model"] or self._model(book),
            "source": source | {"file": ids.get(song)},
            "click": ids.get(click),
            "time": self._time(book),
            "tracks": [self._track(book, track, folder, ids) for track in at.tracks],
            "undo": book.step.what if book.at > 0 else None,
            "again": book.history[book.at + 1].what if book.at + 1 < len(book.history) else None,
        }

    def _song_path(self, row: Row, wish: dict[str, Any], folder: str) -> str | None:
        """Where the song lies as it is played to; None for a tempo."""
        if row["song"] is None:
            return None
        if wish.get("start") or wish.get("seconds") is not None:
            return f"{folder}/{kinds.WEB}/song.flac"
        song = self.database.song(row["song"])
        return None if song is None else song["path"]

    def _model(self, book: Book) -> str:
        last = [book.takes[track.kept].recipe.model for track in book.step.tracks]
        return last[-1] if last else self.settings.model or DEFAULT

    def _time(self, book: Book) -> dict[str, Any]:
        time = book.times[book.step.time]
        return {
            "bpm": None if time.grid is None else round(float(time.grid.bpm), 3),
            "times": list(time.times),
            "numbers": list(time.numbers),
            "division": time.division,
            "chords": None if time.chords is None else [list(span) for span in time.chords],
            "tuning": time.tuning,
            "sections": [{"name": one.name, "bar": one.bar, "energy": one.energy} for one in time.sections],
        }

    def _track(self, book: Book, track: Track, folder: str, ids: dict[tuple[str, str], str]) -> dict[str, Any]:
        scores = {name: book.takes[name].check.get("score", 0.0) for name in track.takes}
        ranked = sorted(track.takes, key=lambda name: -scores[name])
        takes = []
        for number, name in enumerate(track.takes, 1):
            take = book.takes[name]
            takes.append(
                {
                    "name": name,
                    "number": number,
                    "seed": take.recipe.seed,
                    "prompt": take.recipe.prompt,
                    "performance": take.recipe.performance,
                    "instrument": take.instrument,
                    "check": take.check,
                    "rank": ranked.index(name) + 1,
                    "remarks": list(take.remarks),
                    "regions": [list(region) for region in take.recipe.regions],
                    "model": take.recipe.model,
                    "file": ids["take", f"{folder}/{state.TAKES}/{name}.flac"],
                    "notes": ids.get(("notes", f"{folder}/{state.TAKES}/{name}.json")),
                }
            )
        return {key: getattr(track, key) for key in ("name", "stem", "gain", "pan", "mute", "lock", "kept")} | {
            "takes": takes
        }


def stem_of(row: Row) -> str | None:
    """The stem of a job's new track; of a band, of the one whose sound can be fetched now."""
    wish, live = row["wish"], row["live"]
    if row["do"] == "band" and live:
        return wish["stems"][(live - 1) // int(wish["takes"])]
    return wish.get("stem")


def iso(seconds: float) -> str:
    """A time as ISO 8601 has it, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
