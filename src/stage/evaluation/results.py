"""A folder of results: whose they are (run.json), the rows that are measured (clips.jsonl), and the work that is left.

`stage evaluate` and `stage acceptance` share all of this. A row is written as soon as its clip is measured, so that a
run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from stage.errors import StageError
from stage.evaluation.jobs import Build, Job, share
from stage.files import write_text

RUN, ROWS = "run.json", "clips.jsonl"
REMAINS = (ROWS, "audio", "embeddings")
"""What a folder of results holds besides run.json."""
KEYS = {"evaluate": "task", "acceptance": "settings"}
"""What run.json of each command holds, by which the command of one that does not name it is recognised."""

Progress = Callable[[int, int, str], None]
"""Called with the number of rows that are there, of all rows, and with what is done now."""


def read_run(folder: Path, command: str) -> dict[str, Any] | None:
    """run.json of a folder that a command has begun; None where nothing has begun in it.

    Raises StageError for one that cannot be read, that is missing beside results, or is another command's.
    """
    path = folder / RUN
    if not path.exists():
        if any((folder / name).exists() for name in REMAINS):
            raise StageError(
                f"{folder} holds results without {RUN}, which names their model: remove it, or choose another --out"
            )
        return None
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise StageError(f"{path} cannot be read ({error}): remove {folder}, or choose another --out") from None
    owner = known.get("command") if isinstance(known, dict) else None
    owner = owner or next((name for name, key in KEYS.items() if isinstance(known, dict) and key in known), None)
    if owner != command:
        whose = f"results of stage {owner}" if owner in KEYS else f"a {RUN} that no evaluation wrote"
        raise StageError(f"{folder} holds {whose}: choose another --out for stage {command}")
    return known


def as_json(value: Any) -> Any:
    """A value as it comes back from a JSON file: tuples as lists."""
    return json.loads(json.dumps(value))


def read_rows(path: Path, valid: Callable[[dict[str, Any]], bool] = lambda row: True) -> dict[str, dict[str, Any]]:
    """The rows of a file of JSON lines by their "key", the last of each key.

    Lines that are cut or damaged, or hold no valid row, are taken out of the file; all others stay. Raises StageError
    where the file cannot be read or written.
    """
    if not path.exists():
        return {}
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StageError(f"{path} cannot be read: {error.strerror or error}") from None
    rows, whole = {}, data.endswith(b"\n") or not data
    for line in filter(bytes.strip, data.split(b"\n")):
        row = _row(line)
        if row is not None and valid(row):
            rows[row.pop("key")] = row
        else:
            whole = False
    if not whole:
        write_text(path, "".join(_line(key, row) for key, row in rows.items()))
    return rows


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("key"), str) else None


def _line(key: str, row: Mapping[str, Any]) -> str:
    return json.dumps({"key": key, **row}) + "\n"


class Rows:
    """The rows of a folder of results, and the file to which new ones are added. Made by `opened`.

    rows: by key. keys: of all rows that are wanted, in the order of the plan.
    """

    def __init__(self, file: TextIO, rows: dict[str, dict], keys: Sequence[str], on_progress: Progress | None):
        self.rows, self.keys = rows, list(keys)
        self._file, self._on_progress = file, on_progress
        self._done = sum(key in rows for key in self.keys)

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of the jobs that have no row yet."""
        return [job for job in jobs if job.key not in self.rows]

    def make(self, jobs: Sequence[Job], build: Build | None = None, workers: int = 1) -> None:
        """Do jobs and keep their rows: here, or in processes that each get the jobs from `build`."""
        if build is not None and workers > 1 and len(jobs) > 1:
            self.report(f"starting {workers} workers")
            with share(build, [job.key for job in jobs], workers) as made:
                for key, row in made:
                    self._keep(key, row)
                    self.report(key)
            return
        for job in jobs:
            self.report(job.key)
            self._keep(job.key, job.run())

    def report(self, what: str) -> None:
        """Pass on how far the work is."""
        if self._on_progress:
            self._on_progress(self._done, len(self.keys), what)

    def wanted(self) -> dict[str, dict]:
        """The rows of all keys, in their order."""
        return {key: self.rows[key] for key in self.keys}

    def _keep(self, key: str, row: dict) -> None:
        try:
            self._file.write(_line(key, row))
            self._file.flush()
        except OSError as error:
            raise StageError(f"{ROWS} cannot be written: {error.strerror or error}; what is there is kept") from None
        self._done += key not in self.rows
        self.rows[key] = row


@contextmanager
def opened(
    folder: Path, rows: dict[str, dict], keys: Sequence[str], on_progress: Progress | None = None
) -> Iterator[Rows]:
    """The rows of a folder, opened for new ones. Raises StageError where the file cannot be written."""
    try:
        file = (folder / ROWS).open("a", encoding="utf-8")
    except OSError as error:
        raise StageError(f"{folder / ROWS} cannot be written: {error.strerror or error}") from None
    with file:
        yield Rows(file, rows, keys, on_progress)
