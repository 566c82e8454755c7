"""A client of `stage web`, for programs: `Client("http://127.0.0.1:8765").begin(song="song.mp3").add("drums")`.

It needs nothing but Python's own library. What the server refuses raises StageError with the server's line.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stage.errors import StageError
from stage.files import whole_file

ADDRESS = "http://127.0.0.1:8765"
POLL = 0.25
"""Seconds between two looks at a job."""
ENDED = ("done", "failed", "cancelled")


class Refused(StageError):
    """The server's answer to what cannot be done. status: of HTTP; code: a word for programs."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


class Client:
    """A server, by its address. token: where it needs one; that of STAGE_TOKEN by default."""

    def __init__(self, address: str = ADDRESS, token: str | None = None, timeout: float = 60.0):
        self.address, self.timeout = address.rstrip("/"), timeout
        self.token = os.environ.get("STAGE_TOKEN", "") if token is None else token

    # ------------------------------------------------------------ requests

    def open(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The open answer to a request. body: of a song an open file, else a value for JSON.

        Raises Refused for what the server refuses, StageError where it does not answer.
        """
        given = {"X-Stage": "1", **(headers or {})}
        if self.token:
            given["Authorization"] = f"Bearer {self.token}"
        data = body
        if method not in ("GET", "DELETE"):
            given.setdefault("Content-Type", "application/json")
            if given["Content-Type"] == "application/json":
                data = json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.address}{path}", data, given, method=method)
        try:
            return urllib.request.urlopen(asked, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code, error.read()) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise StageError(f"{self.address} does not answer ({why}): is stage web running there?") from None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request, from JSON; None where it is empty."""
        with self.open(method, path, body) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    # ------------------------------------------------------------ what there is

    def health(self) -> dict[str, Any]:
        return self.ask("GET", "/api/health")

    def models(self) -> list[dict[str, Any]]:
        return self.ask("GET", "/api/models")

    def sessions(self) -> list[dict[str, Any]]:
        return self.ask("GET", "/api/sessions")

    def session(self, id: str) -> Session:
        """A session that is there."""
        return Session(self, self.ask("GET", f"/api/sessions/{_quoted(id)}"))

    # ------------------------------------------------------------ begin

    def upload(self, path: str | Path) -> dict[str, Any]:
        """Bring a song; returns its id, length, rate and channels."""
        path = Path(path)
        try:
            with open(path, "rb") as file:
                headers = {
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(path.stat().st_size),
                }
                with self.open("POST", f"/api/songs?name={_quoted(path.name)}", file, headers) as answer:
                    return json.loads(answer.read())
        except OSError as error:
            raise StageError(f"cannot read {path}: {error.strerror or error}") from None

    def begin(self, song: str | Path | None = None, wait: float = 600.0, **options: Any) -> Session:
        """A new session, ready to be played to. song: a file, which is uploaded. options: as the API has them: demo,
        bpm, meter, bars, chords, start, seconds, form, name, model."""
        if song is not None:
            options["song"] = self.upload(song)["id"]
        session = Session(self, self.ask("POST", "/api/sessions", options))
        return session.wait(wait)

    def cancel(self, job: str) -> dict[str, Any]:
        return self.ask("DELETE", f"/api/jobs/{_quoted(job)}")

    def fetch(self, file: str, path: str | Path, force: bool = False) -> Path:
        """Write a file of the server's to a path, whole or not at all."""
        with self.open("GET", f"/api/files/{_quoted(file)}") as answer, whole_file(path, force) as partial:
            with open(partial, "wb") as out:
                while part := answer.read(1 << 20):
                    out.write(part)
        return Path(path)


class Session:
    """A session of a server. state: as the API has it, of the last time that it was read."""

    def __init__(self, client: Client, state: dict[str, Any]):
        self.client, self.state = client, state
        self._path = f"/api/sessions/{_quoted(state['id'])}"

    @property
    def id(self) -> str:
        return self.state["id"]

    @property
    def tracks(self) -> list[dict[str, Any]]:
        return self.state["tracks"]

    def track(self, name: str) -> dict[str, Any]:
        """A track by its name. Raises StageError where there is none."""
        found = [track for track in self.tracks if track["name"] == name]
        if not found:
            raise StageError(f'there is no track "{name}"')
        return found[0]

    def refresh(self) -> Session:
        self.state = self.client.ask("GET", self._path)
        return self

    def wait(self, seconds: float = 600.0) -> Session:
        """Wait until the session is ready. Raises StageError where it could not be prepared."""
        end = time.monotonic() + seconds
        while self.state["state"] == "preparing":
            if time.monotonic() > end:
                raise StageError(f"the session was not ready within {seconds:g} seconds")
            time.sleep(POLL)
            self.refresh()
        if self.state["state"] == "failed":
            raise StageError(f"the session could not be prepared: {self.state['error']}")
        return self

    # ------------------------------------------------------------ steps

    def step(self, do: str, **values: Any) -> Session:
        """A quick step: keep, mix, rename, remove, undo, again, beats, chords, sections."""
        self.state = self.client.ask("POST", f"{self._path}/steps", {"do": do, **values})
        return self

    def undo(self) -> Session:
        return self.step("undo")

    def remove(self) -> None:
        """Remove the session from the server."""
        self.client.ask("DELETE", self._path)

    # ------------------------------------------------------------ jobs

    def queue(self, do: str, **values: Any) -> dict[str, Any]:
        """A new job, without waiting for it."""
        return self.client.ask("POST", f"{self._path}/jobs", {"do": do, **values})

    def finish(
        self, job: dict[str, Any], on_job: Callable[[dict[str, Any]], None] | None = None, seconds: float = 3600.0
    ) -> dict[str, Any]:
        """Wait for a job; returns it as it is when it is done. on_job: called with it now and then.

        Raises StageError where it fails, is cancelled, or takes longer.
        """
        end = time.monotonic() + seconds
        while job["state"] not in ENDED:
            if time.monotonic() > end:
                raise StageError(f"{job['title']} was not done within {seconds:g} seconds")
            time.sleep(POLL)
            job = self.client.ask("GET", f"/api/jobs/{job['id']}")
            if on_job:
                on_job(job)
        if job["state"] != "done":
            raise StageError(job["error"] or f"{job['title']} was cancelled")
        self.refresh()
        return job

    def play(self, do: str, on_job: Callable[[dict[str, Any]], None] | None = None, **values: Any) -> dict[str, Any]:
        """A job, waited for: add, take, like, other, redo, band."""
        return self.finish(self.queue(do, **values), on_job)

    def add(self, stem: str, **values: Any) -> dict[str, Any]:
        """A new track; returns it."""
        done = self.play("add", stem=stem, **values)
        return self.track(done["result"]["track"])

    def export(self, path: str | Path, force: bool = False, **values: Any) -> Path:
        """Write a ZIP of the session."""
        done = self.play("export", **values)
        return self.client.fetch(done["result"]["file"], path, force)

    def events(self, last: int | None = None) -> Iterator[tuple[str, dict[str, Any], int]]:
        """(kind, data, number) of what happens, as it happens. last: number of the last event that was seen."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        with self.client.open("GET", f"{self._path}/events", headers=headers) as answer:
            fields: dict[str, str] = {}
            for raw in answer:
                line = raw.decode().rstrip("\n")
                if line:
                    key, _, value = line.partition(": ")
                    fields[key] = value
                    continue
                if "data" in fields:
                    yield fields["event"], json.loads(fields["data"]), int(fields["id"])
                fields = {}


def _refused(status: int, body: bytes) -> StageError:
    try:
        said = json.loads(body)
        return Refused(status, said["code"], said["error"])
    except (ValueError, KeyError, TypeError):
        return Refused(status, "http", f"the server answered {status}")


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
