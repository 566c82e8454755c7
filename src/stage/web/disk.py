"""Room on the disk: what the data folder may hold, and what goes when it is old."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from pathlib import Path

from stage import files
from stage.web.database import Database
from stage.web.errors import Refused
from stage.web.settings import Settings
from stage.web.uploads import megabytes, size_of

DAY = 86400.0
MEASURED = 30.0
"""Seconds for which a measured size is taken as it is."""
IN_USE = 3600.0
"""Seconds after its last change in which a session is never removed."""
UPLOADED = DAY
"""Seconds after which a song that no session uses is removed; an export too."""
JOBS_KEPT = 7 * DAY


class Disk:
    """Measures and cleans the data folder."""

    def __init__(self, settings: Settings, database: Database):
        self.settings, self.database = settings, database
        self._lock = threading.Lock()
        self._size, self._measured = 0, 0.0

    @property
    def size(self) -> int:
        """Bytes of the data folder, measured lately."""
        with self._lock:
            if not self._measured or time.monotonic() - self._measured > MEASURED:
                self._size, self._measured = size_of(self.settings.data), time.monotonic()
            return self._size

    def check(self, more: int = 0) -> None:
        """Raise Refused where there is no room for so many bytes more."""
        settings = self.settings
        if self.size + more > settings.data_bytes:
            raise Refused(
                507,
                "disk_full",
                f"the sessions hold {megabytes(self.size)} of {megabytes(settings.data_bytes)}: remove some",
            )
        if shutil.disk_usage(settings.data).free - more < settings.free_bytes:
            raise Refused(507, "disk_full", "the disk is full: remove sessions, or make room on it")

    def add(self, more: int) -> None:
        """Say that so many bytes came."""
        with self._lock:
            self._size += more

    def clean(self) -> list[str]:
        """Remove what is old, and while there is too much the session that was changed the longest ago, where the
        server's settings say so; returns the ids of sessions that went."""
        now, gone = time.time(), []
        if self.settings.keep_days:
            for row in self.database.sessions():
                if row["changed"] < now - self.settings.keep_days * DAY:
                    gone.append(self.remove(row["id"]))
            self._measured = 0.0
            for row in reversed(self.database.sessions()):
                if self.size <= self.settings.data_bytes:
                    break
                if row["changed"] < now - IN_USE:
                    gone.append(self.remove(row["id"]))
                    self._measured = 0.0
        for song in self.database.idle_songs(now - UPLOADED):
            self.database.remove_song(song["id"])
            shutil.rmtree((self.settings.data / song["path"]).parent, ignore_errors=True)
        self._old(self.settings.sessions.glob("*/web/exports/*"), now - UPLOADED)
        self._old(self.settings.live.glob("*.whole"), now - 600)
        self.database.forget_jobs(now - JOBS_KEPT)
        self._orphans(now)
        return gone

    def remove(self, session: str) -> str:
        """Remove a session with all that it holds."""
        self.database.remove_session(session)
        folder = self.settings.sessions / session
        with contextlib.suppress(OSError):
            files.remove_folder(folder)
        self._measured = 0.0
        return session

    def _old(self, paths, before: float) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < before:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _orphans(self, now: float) -> None:
        """Folders of sessions and songs, and peaks, that are not in the database."""
        known = {row["id"] for row in self.database.sessions()}
        for folder in self.settings.sessions.glob("*"):
            if folder.name not in known and not folder.name.startswith(".") and _age(folder, now) > IN_USE:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in self.settings.songs.glob("*"):
            if _age(folder, now) > UPLOADED and self.database.song(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)
        for path in self.settings.peaks.glob("*.npz"):
            if self.database.file(path.stem) is None:
                path.unlink(missing_ok=True)


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
