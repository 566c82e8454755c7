"""What the endpoints share: `Server`."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator

from fastapi import Request

from stage.session.shared import SharedSession
from stage.web import jobs as kinds
from stage.web.database import Database, Row
from stage.web.disk import Disk
from stage.web.documents import Books, Documents
from stage.web.errors import Refused, missing
from stage.web.events import Events
from stage.web.runner import Runner
from stage.web.settings import Settings
from stage.web.sounds import Sounds
from stage.web.uploads import Uploads

FULL = "too many jobs wait already: try again when some are done"
CLEANED = 600.0
"""Seconds between two cleanings."""


class Server:
    """The parts of a server, and what several endpoints do.

    alone: this process does the jobs too, and cleans; else another one does, on the same folder.
    """

    def __init__(self, settings: Settings, alone: bool = True):
        self.settings = settings
        for folder in (settings.sessions, settings.songs, settings.uploads, settings.live, settings.peaks):
            folder.mkdir(parents=True, exist_ok=True)
        self.database = Database(settings.database)
        self.books = Books()
        self.documents = Documents(settings, self.database, self.books)
        self.sounds = Sounds(settings, self.database, self.books)
        self.uploads = Uploads(settings)
        self.disk = Disk(settings, self.database)
        self.events = Events(self.database, self.documents)
        self.runner = Runner(settings, self.database) if alone else None
        self._ending = threading.Event()
        self._cleaner = threading.Thread(target=self._clean, name="cleaner", daemon=True)

    def start(self) -> None:
        """Begin to do jobs and to clean."""
        if self.runner is not None:
            for folder in (self.settings.uploads, self.settings.live):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
            self.runner.start()
            self._cleaner.start()

    def stop(self) -> None:
        """End; what runs is done again by the next server."""
        self._ending.set()
        if self.runner is not None:
            self.runner.stop()
        self.database.close()

    def _clean(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(Exception):  # what cannot be removed now is tried again
                self.disk.clean()
            self._ending.wait(CLEANED)

    # ------------------------------------------------------------ what endpoints do

    def row(self, id: str) -> Row:
        """A session's row. Raises Refused where there is none."""
        row = self.database.session(id)
        if row is None:
            raise missing("session")
        return row

    def ready(self, id: str) -> Row:
        """The row of a session that can be worked on."""
        row = self.row(id)
        if row["state"] == "preparing":
            raise Refused(409, "preparing", "the session is being prepared: wait until it is ready")
        if row["state"] == "failed":
            raise Refused(409, "failed", f"the session could not be prepared: {row['error']}")
        return row

    @contextlib.contextmanager
    def step(self, id: str, revision: int | None) -> Iterator[SharedSession]:
        """A quick step of a session. revision: that the client has seen, if it says so."""
        self.ready(id)
        session = SharedSession(self.settings.sessions / id)
        with session.held():
            if revision is not None and revision != session.book.changes:
                raise Refused(409, "revision", "the session has changed meanwhile: look at it again")
            yield session
        self.database.change_session(id)

    def check_queue(self) -> None:
        """Raise Refused where so many jobs wait that no more are taken."""
        if len(self.database.waiting()) >= self.settings.queue_jobs:
            raise Refused(429, "queue_full", FULL)

    def queue(self, row: Row, client: str, title: str, wish: dict) -> Row:
        """A new job of a session. Raises Refused where too many wait, or the disk is full."""
        self.disk.check()
        settings, do = self.settings, wish["do"]
        job = self.database.add_job(
            settings.session_jobs,
            settings.queue_jobs,
            session=row["id"],
            client=client,
            lane=kinds.LANE.get(do, kinds.PLAY),
            do=do,
            title=title,
            wish=wish,
        )
        if job is None:
            raise Refused(429, "queue_full", FULL)
        self.wake()
        return job

    def wake(self) -> None:
        if self.runner is not None:
            self.runner.wake()


async def server_of(request: Request) -> Server:
    """The server that a request came to. Not a plain function: FastAPI calls those in a thread of their own."""
    return request.app.state.server


def client_of(request: Request) -> str:
    """Who asks, for the order of the queue."""
    return request.client.host if request.client else "local"
