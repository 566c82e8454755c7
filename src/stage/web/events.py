"""What happens to a session, sent as it happens (server-sent events).

Events are numbered as changes are in the database; a client that comes back with the number of the last event gets
what came after it, from any of the servers; one without a number gets all that has not ended.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from stage.errors import StageError
from stage.web.database import Database, Row
from stage.web.documents import Documents

ASKED_MOST = 64
POLL = 0.25
"""Seconds between two looks at the database."""
QUIET = 15.0
"""Seconds after which a comment is sent, so that proxies keep the connection open."""


class Events:
    """Looks at the database for all that listen, and wakes them when something has changed."""

    def __init__(self, database: Database, documents: Documents):
        self.database, self.documents = database, documents
        self._changed: asyncio.Future[None]
        self._seq = database.seq
        self._task: asyncio.Task[None] | None = None
        self._asked: dict[tuple[str, int | None, int], asyncio.Future[tuple[list[bytes] | None, int]]] = {}
        self.closing = False
        self.listeners = 0

    def start(self) -> None:
        """Begin, in a running loop."""
        self._changed = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        self.closing = True
        if self._task is not None:
            self._task.cancel()
        self._wake()

    def _wake(self) -> None:
        """Have all that wait look; one future for all of them costs the least."""
        changed, self._changed = self._changed, asyncio.get_running_loop().create_future()
        changed.set_result(None)

    async def _watch(self) -> None:
        while True:
            if self.listeners and (seq := self.database.seq) != self._seq:
                self._seq = seq
                self._wake()
            await asyncio.sleep(POLL)

    async def of(self, session: str, since: int | None) -> AsyncIterator[bytes]:
        """The events of a session as text/event-stream. since: the number of the last one that was seen."""
        self.listeners += 1
        try:
            seen = since
            yield b"retry: 2000\n\n"
            last = time.monotonic()
            while not self.closing:
                changed = self._changed  # before the look, so that no change is missed
                at = self.database.seq
                if seen is None or at > seen:
                    lines, seen = await self._lines(session, seen, at)
                    if lines is None:
                        return
                    for line in lines:
                        last = time.monotonic()
                        yield line
                if time.monotonic() - last > QUIET:
                    last = time.monotonic()
                    yield b": still here\n\n"
                if self._seq <= seen:
                    await asyncio.wait([changed], timeout=QUIET / 2)
        finally:
            self.listeners -= 1

    async def _lines(self, session: str, seen: int | None, at: int) -> tuple[list[bytes] | None, int]:
        """`_since`, once for all that have seen the same."""
        key = session, seen, at
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.ensure_future(asyncio.to_thread(self._since, session, seen, at))
            while len(self._asked) > ASKED_MOST:
                self._asked.pop(next(iter(self._asked)))
        return await asyncio.shield(task)  # a client that leaves does not cancel it for the others

    def _since(self, session: str, seen: int | None, at: int) -> tuple[list[bytes] | None, int]:
        """Events after a number, and the number after which nothing was looked at; None where the session is gone."""
        row = self.database.session(session)
        if row is None:
            return None, at
        changed: Row | None
        since = None if seen is None or seen > at else seen  # new here, or from another database
        if since is None:
            jobs, changed = self.database.jobs(session, time.time()), row
        else:
            jobs, changed = self.database.changes(session, since)
        made: list[tuple[int, str, dict[str, Any]]] = []
        for job, shown in zip(jobs, self.documents.all_jobs(jobs)):
            made.append((job["seq"], "job", shown))
        if changed is not None:
            made.append((changed["seq"], "session", self._session(row)))
        made.sort(key=lambda pair: pair[0])
        return [_event(kind, data, at if since is None else seq) for seq, kind, data in made], max(
            [at, *(seq for seq, *_ in made)]
        )

    def _session(self, row: Row) -> dict[str, Any]:
        revision = 0
        if row["state"] == "ready":
            try:
                revision = self.documents.book(row["id"]).changes
            except StageError:
                pass
        return {"revision": revision, "state": row["state"]}


def _event(kind: str, data: dict[str, Any], seq: int) -> bytes:
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
