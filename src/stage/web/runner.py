"""Takes jobs from the queue, has them done by a process for each lane, and writes down what becomes of them."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from stage.errors import StageError
from stage.parallel import Ended, Helper
from stage.web import jobs, queue
from stage.web.database import Database, Row
from stage.web.settings import Settings

LANES = (jobs.PLAY, jobs.PREPARE)
TRIES = 2
"""Times that a job is begun whose process ends before it does."""
OFTEN = 0.4
"""Seconds between two reports of a job's progress that are written down."""
PATIENCE = 2.0
"""Seconds after which what does not stop is killed when the server ends."""
POLL = 1.0
"""Seconds after which the queue is looked at without having been woken."""


class Runner:
    """One thread for each lane. In an installation of several servers one of them has it."""

    def __init__(self, settings: Settings, database: Database):
        self.settings, self.database = settings, database
        self._wake = {lane: threading.Event() for lane in LANES}
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=(lane,), name=f"lane {lane}") for lane in LANES]
        self._helpers: dict[str, Helper] = {}
        self.restarts = 0

    def start(self) -> None:
        """Begin, with the jobs that a server before this left."""
        self.database.take_up()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what runs is done again by the next server."""
        self._ending.set()
        self.wake()
        for lane, thread in zip(LANES, self._threads):
            thread.join(PATIENCE)
            while thread.is_alive():
                if (helper := self._helpers.get(lane)) is not None:
                    helper.kill()
                thread.join(PATIENCE)

    def wake(self) -> None:
        """Say that a job waits."""
        for event in self._wake.values():
            event.set()

    def _serve(self, lane: str) -> None:
        helper: Helper | None = None
        used = time.monotonic()
        try:
            if lane == jobs.PLAY and not self.database.waiting(lane):
                helper = self._warm(lane)
            while not self._ending.is_set():
                self._wake[lane].clear()
                line = queue.line(self.database, lane)
                if line and self.database.begin_job(line[0]["id"]):
                    helper = self._do(lane, helper, line[0]["id"])
                    used = time.monotonic()
                    continue
                if not line:
                    if helper is not None and time.monotonic() - used > self.settings.idle_seconds:
                        helper.close()
                        helper = None
                    self._wake[lane].wait(POLL)
        finally:
            if helper is not None:
                helper.close()

    def _helper(self, lane: str) -> Helper:
        settings = self.settings
        build = partial(jobs.build, str(settings.data), settings.precision)
        self._helpers[lane] = Helper(build, settings.threads if lane == jobs.PLAY else 1)
        return self._helpers[lane]

    def _warm(self, lane: str) -> Helper | None:
        """A process that has the model, so that the first take need not wait for it."""
        helper = self._helper(lane)
        try:
            helper.do({"do": "warm", "model": self.settings.model}, stop=self._ending.is_set, grace=0.0)
        except Ended:
            return None
        except StageError:  # a job says what is wrong
            pass
        return helper

    def _do(self, lane: str, helper: Helper | None, id: str) -> Helper | None:
        """Do a job; returns the process for the next one."""
        job = self.database.job(id)
        assert job is not None
        session = self.database.session(job["session"])
        if session is None:
            self._end(id, "cancelled")
            return helper
        progress = Progress(self.database, job)
        try:
            if helper is None or not helper.alive:
                helper = self._helper(lane)
            made = helper.do(self._task(job, session), progress, lambda: self._stops(id))
        except Ended as error:
            self.restarts += 1
            helper = None
            if self._ending.is_set():
                return None
            if self._cancelled(id):
                self._end(id, "cancelled")
            elif job["tries"] < TRIES:
                self.database.change_job(id, state="queued", share=0.0, remaining=None)
            else:
                self._fail(job, f"{error}: try a shorter song or a smaller model")
        except StageError as error:
            if self._cancelled(id):  # for example, its session was removed
                self._end(id, "cancelled")
            elif not self._ending.is_set():
                self._fail(job, str(error))
        except Exception as error:  # the lane goes on with the next job
            self._fail(job, f"unexpected error, please report it ({type(error).__name__}: {error})")
        else:
            if made.get("cancelled"):
                if not self._ending.is_set():
                    self._end(id, "cancelled")
            else:
                self._finish(job, made)
        finally:
            self._silence(id)
        return helper

    def _task(self, job: Row, session: Row) -> dict[str, Any]:
        song = None if session["song"] is None else self.database.song(session["song"])
        model = job["wish"].get("model") or session["model"]
        if model is None and job["do"] not in ("prepare", "export"):
            model = self.settings.model if not _has_takes(self.settings.sessions / job["session"]) else None
        return {key: job[key] for key in ("id", "do", "session", "wish")} | {
            "model": model,
            "name": session["name"],
            "song": None if song is None else song["path"],
        }

    def _finish(self, job: Row, made: dict[str, Any]) -> None:
        """Write down what a job has made."""
        id, session = job["id"], job["session"]
        if job["do"] == "prepare":
            values: dict[str, Any] = {"state": "ready", "error": None}
            if made["song"] is not None:
                self.database.file_ids(session, [("song", made["song"])])
            self.database.change_session(session, **values)
            self._end(id, "done", result={})
            return
        result = {key: made[key] for key in ("track", "takes") if made.get(key) is not None}
        if made.get("file"):
            wanted = made["kind"], f"sessions/{session}/{made['file']}"
            result["file"] = self.database.file_ids(session, [wanted])[wanted]
        else:
            self.database.change_session(session)
        self._end(id, "done", result=result)

    def _fail(self, job: Row, why: str) -> None:
        self._end(job["id"], "failed", error=" ".join(why.split()))
        if job["do"] == "prepare":
            self.database.change_session(job["session"], state="failed", error=" ".join(why.split()))

    def _end(self, id: str, state: str, **values: Any) -> None:
        share = {"share": 1.0} if state == "done" else {}
        self.database.change_job(id, state=state, ended=time.time(), remaining=None, **share, **values)

    def _cancelled(self, id: str) -> bool:
        job = self.database.job(id)
        return job is None or bool(job["cancel"])

    def _stops(self, id: str) -> bool:
        return self._ending.is_set() or self._cancelled(id)

    def _silence(self, id: str) -> None:
        """Mark the sound of takes of a job that has ended as whole, so that streams of it end."""
        for path in self.settings.live.glob(f"{id}-*.wav"):
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".whole"))


class Progress:
    """Writes down a job's reports."""

    def __init__(self, database: Database, job: Row):
        self.database, self.id, self.session = database, job["id"], job["session"]
        self._last, self._began, self._first = 0.0, time.monotonic(), None

    def __call__(self, report: dict[str, Any]) -> None:
        if "takes" in report:
            made = {"takes": report["takes"], "track": report["track"]}
            self.database.change_job(self.id, result=made, live=None)
            self.database.change_session(self.session)
            return
        if "live" in report:
            self.database.change_job(self.id, live=report["live"])
            return
        share, now = report["share"], time.monotonic()
        if self._first is None:  # what came before is the loading of the model
            self._first = share, now
        if now - self._last < OFTEN:
            return
        self._last = now
        before, since = self._first
        left = (1 - share) * (now - since) / (share - before) if share > before else None
        self.database.change_job(self.id, share=round(share, 4), remaining=left)


def _has_takes(folder: Path) -> bool:
    return any((folder / "takes").glob("*.flac"))
