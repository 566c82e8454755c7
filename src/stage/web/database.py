"""What the server writes down: songs, sessions, jobs and files, in SQLite. What a session holds stands in its folder.

Each change of a session or job has the next number of one count, so that a client that has seen one can ask for what
changed since: events are read from here too, and survive a restart.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stage.errors import StageError

VERSION = 1
SCHEMA = """
create table if not exists meta (name text primary key, value integer not null);
create table if not exists songs (
    id text primary key, name text not null, seconds real not null, rate integer not null, channels integer not null,
    path text not null, made real not null, demo text unique
);
create table if not exists sessions (
    id text primary key, name text not null, state text not null, error text, wish text not null, model text,
    song text, client text not null, made real not null, changed real not null, seq integer not null,
    gone integer not null default 0
);
create table if not exists jobs (
    id text primary key, session text not null, client text not null, lane text not null, do text not null,
    title text not null, wish text not null, state text not null, share real not null default 0,
    remaining real, error text, result text, live integer, cancel integer not null default 0,
    tries integer not null default 0,
    made real not null, begun real, ended real, seq integer not null
);
create index if not exists jobs_of_session on jobs (session, state);
create index if not exists jobs_by_state on jobs (state, lane);
create table if not exists files (
    id text primary key, session text, kind text not null, path text not null, made real not null,
    unique (session, path, kind)
);
create index if not exists files_of_session on files (session);
"""
WAITING, RUNNING = "queued", "running"
ENDED = ("done", "failed", "cancelled")
JSON = ("wish", "result")

Row = dict[str, Any]


def new_id() -> str:
    """An id that cannot be guessed."""
    return secrets.token_urlsafe(12)


class Database:
    """The server's own book. Methods may be called from any thread; each is one transaction."""

    def __init__(self, path: Path):
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            self._db.executescript(SCHEMA)
            with self._writing():
                self._db.execute("insert or ignore into meta values ('version', ?), ('seq', 0)", [VERSION])
            found = self._db.execute("select value from meta where name = 'version'").fetchone()[0]
        except sqlite3.Error as error:
            raise StageError(f"{path} cannot be used: {error}") from None
        if found > VERSION:
            raise StageError(f"{path} was written by a newer version of STAGE: update it")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction, whole or not at all."""
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def _all(self, query: str, *values: Any) -> list[Row]:
        with self._lock:
            return [_row(row) for row in self._db.execute(query, values).fetchall()]

    def _one(self, query: str, *values: Any) -> Row | None:
        found = self._all(query, *values)
        return found[0] if found else None

    def _insert(self, table: str, values: Mapping[str, Any]) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self._db.execute(f"insert into {table} ({names}) values ({marks})", [_value(v) for v in values.values()])

    def _update(self, table: str, id: str, values: Mapping[str, Any]) -> None:
        sets = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"update {table} set {sets} where id = ?", [*(_value(v) for v in values.values()), id])

    def _next(self) -> int:
        self._db.execute("update meta set value = value + 1 where name = 'seq'")
        return self._db.execute("select value from meta where name = 'seq'").fetchone()[0]

    @property
    def seq(self) -> int:
        """The number of the last change."""
        with self._lock:
            return self._db.execute("select value from meta where name = 'seq'").fetchone()[0]

    # ------------------------------------------------------------ songs

    def add_song(self, **values: Any) -> Row:
        row = {"id": new_id(), "made": time.time()} | values
        with self._writing():
            self._insert("songs", row)
        return row

    def song(self, id: str) -> Row | None:
        return self._one("select * from songs where id = ?", id)

    def demo_song(self, demo: str) -> Row | None:
        return self._one("select * from songs where demo = ?", demo)

    def idle_songs(self, before: float) -> list[Row]:
        """Songs that no session uses."""
        return self._all(
            "select * from songs where made < ? and id not in"
            " (select song from sessions where song is not null and not gone)",
            before,
        )

    def remove_song(self, id: str) -> None:
        with self._writing():
            self._db.execute("delete from files where session is null and path like ?", [f"songs/{id}/%"])
            self._db.execute("delete from songs where id = ?", [id])

    # ------------------------------------------------------------ sessions

    def add_session(self, job: Mapping[str, Any], **values: Any) -> Row:
        """A session and the job that prepares it."""
        now = time.time()
        row = {"id": new_id(), "state": "preparing", "made": now, "changed": now} | values
        with self._writing():
            row["seq"] = self._next()
            self._insert("sessions", row)
            self._add_job(session=row["id"], client=row["client"], **job)
        return row

    def session(self, id: str) -> Row | None:
        return self._one("select * from sessions where id = ? and not gone", id)

    def sessions(self) -> list[Row]:
        return self._all("select * from sessions where not gone order by changed desc")

    def change_session(self, id: str, **values: Any) -> None:
        """Change a session, or say that what its folder holds has changed."""
        with self._writing():
            self._update("sessions", id, values | {"changed": time.time(), "seq": self._next()})

    def remove_session(self, id: str) -> None:
        """Forget a session and its files; its jobs end."""
        with self._writing():
            self._update("sessions", id, {"gone": 1, "seq": self._next()})
            self._db.execute("delete from files where session = ?", [id])
            for job in self._db.execute(
                "select id from jobs where session = ? and state in (?, ?)", [id, WAITING, RUNNING]
            ).fetchall():
                self._update("jobs", job["id"], {"cancel": 1, "seq": self._next()})
            self._db.execute(
                "update jobs set state = 'cancelled', ended = ? where session = ? and state = ?",
                [time.time(), id, WAITING],
            )

    # ------------------------------------------------------------ jobs

    def _add_job(self, **values: Any) -> Row:
        row = {"id": new_id(), "state": WAITING, "made": time.time()} | values
        row["seq"] = self._next()
        self._insert("jobs", row)
        return row

    def add_job(self, most_of_session: int, most: int, **values: Any) -> Row | None:
        """A job that waits; None where so many wait already."""
        with self._writing():
            count = "select count(*) from jobs where state = ?"
            mine = self._db.execute(f"{count} and session = ?", [WAITING, values["session"]]).fetchone()[0]
            if mine >= most_of_session or self._db.execute(count, [WAITING]).fetchone()[0] >= most:
                return None
            row = self._add_job(**values)
        return self.job(row["id"])

    def job(self, id: str) -> Row | None:
        return self._one("select * from jobs where id = ?", id)

    def jobs(self, session: str, failed_since: float) -> list[Row]:
        """Jobs of a session that have not ended, or failed lately."""
        return self._all(
            "select * from jobs where session = ? and (state in (?, ?) or (state = 'failed' and ended > ?))"
            " order by made",
            session,
            WAITING,
            RUNNING,
            failed_since,
        )

    def waiting(self, lane: str | None = None) -> list[Row]:
        if lane is None:
            return self._all("select * from jobs where state = ? order by made, seq", WAITING)
        return self._all("select * from jobs where state = ? and lane = ? order by made, seq", WAITING, lane)

    def served(self, column: str, lane: str) -> dict[str, float]:
        """When each client or session was last served."""
        assert column in ("client", "session")
        rows = self._all(
            f"select {column} as name, max(begun) as begun from jobs where lane = ? and begun is not null"
            f" group by {column}",
            lane,
        )
        return {row["name"]: row["begun"] for row in rows}

    def change_job(self, id: str, **values: Any) -> None:
        with self._writing():
            self._update("jobs", id, values | {"seq": self._next()})

    def begin_job(self, id: str) -> bool:
        """Mark a waiting job as running; False where it waits no more."""
        with self._writing():
            found = self._db.execute("select state, tries from jobs where id = ?", [id]).fetchone()
            if found is None or found["state"] != WAITING:
                return False
            values = {"state": RUNNING, "begun": time.time(), "tries": found["tries"] + 1, "share": 0.0}
            self._update("jobs", id, values | {"seq": self._next()})
            return True

    def cancel_job(self, id: str) -> None:
        """A waiting job ends at once; a running one is asked to."""
        with self._writing():
            found = self._db.execute("select state from jobs where id = ?", [id]).fetchone()
            if found["state"] == WAITING:
                self._update("jobs", id, {"state": "cancelled", "ended": time.time(), "seq": self._next()})
            elif found["state"] == RUNNING:
                self._update("jobs", id, {"cancel": 1, "seq": self._next()})

    def take_up(self) -> int:
        """Let jobs that a server left running wait again; returns how many."""
        with self._writing():
            left = self._db.execute("select id from jobs where state = ?", [RUNNING]).fetchall()
            for job in left:
                self._update(
                    "jobs", job["id"], {"state": WAITING, "share": 0.0, "remaining": None, "seq": self._next()}
                )
        return len(left)

    def forget_jobs(self, before: float) -> None:
        """Remove jobs that ended long ago."""
        with self._writing():
            self._db.execute("delete from jobs where ended < ?", [before])

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        rows = self._all("select state, count(*) as n from jobs group by state")
        return {row["state"]: row["n"] for row in rows}

    def times(self) -> tuple[dict[str, float], dict[str, float]]:
        """Seconds that done jobs took and waited, by a label for each kind."""
        rows = self._all(
            "select do, sum(ended - begun) as took, sum(begun - made) as waited from jobs"
            " where state = 'done' and begun is not null group by do"
        )
        labels = [(f'{{do="{row["do"]}"}}', row) for row in rows]
        return {label: row["took"] for label, row in labels}, {label: row["waited"] for label, row in labels}

    def changes(self, session: str, since: int) -> tuple[list[Row], Row | None]:
        """A session's jobs that changed since a number, in order, and the session where it did."""
        with self._lock:
            self._db.execute("begin")  # both as they are at one moment
            try:
                jobs = self._all("select * from jobs where session = ? and seq > ? order by seq", session, since)
                return jobs, self._one("select * from sessions where id = ? and seq > ?", session, since)
            finally:
                self._db.execute("commit")

    # ------------------------------------------------------------ files

    def file_ids(self, session: str | None, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Ids of files, (kind, path in the data folder) -> id; new ones are given to those that have none."""
        wanted = list(wanted)
        known = {
            (row["kind"], row["path"]): row["id"]
            for row in self._all("select * from files where session is ?", session)
        }
        missing = [one for one in wanted if one not in known]
        if missing:
            with self._writing():
                for kind, path in missing:
                    self._db.execute(
                        "insert or ignore into files (id, session, kind, path, made) values (?, ?, ?, ?, ?)",
                        [new_id(), session, kind, path, time.time()],
                    )
            known = {
                (row["kind"], row["path"]): row["id"]
                for row in self._all("select * from files where session is ?", session)
            }
        return {one: known[one] for one in wanted}

    def file(self, id: str) -> Row | None:
        return self._one("select * from files where id = ?", id)


def _row(row: sqlite3.Row) -> Row:
    made = dict(row)
    for name in JSON:
        if made.get(name) is not None:
            made[name] = json.loads(made[name])
    return made


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (dict, list)) else value
