"""How a server runs: `Settings`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stage import files
from stage.errors import StageError
from stage.generation.request import SECONDS_RANGE

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MB = 1 << 20
LIMITS: dict[str, tuple[str, float, float, float]] = {
    "upload_bytes": ("--song-mb", MB, 1, 100_000),
    "song_seconds": ("--song-minutes", 60.0, 1 / 60, SECONDS_RANGE[1] / 60),
    "session_jobs": ("--session-queue", 1, 1, 10_000),
    "queue_jobs": ("--queue", 1, 1, 100_000),
    "data_bytes": ("--most-gb", 1024 * MB, 0, 1e12),
    "free_bytes": ("--free-gb", 1024 * MB, 0, 1e12),
    "keep_days": ("--keep-days", 1.0, 0, 36_500),
    "idle_seconds": ("--idle-minutes", 60.0, 0, 100_000),
    "threads": ("--threads", 1, 0, 1024),
}
"""Limits that have an option: its name, its unit in the field's, and the least and the most that can be chosen."""


@dataclass(frozen=True)
class Settings:
    """How a server runs.

    data: the folder that holds everything. host, port: where it listens. token: what clients must send; needed beyond
    localhost. hosts: names by which it may be called beyond localhost, beside IP addresses and the machine's own name.
    model, precision: what plays where a session names nothing; threads: of its process, 0 for as many as there are.

    upload_bytes, song_seconds: the most that a song may have. decode_bytes, decode_seconds: memory and time for reading
    one. session_jobs, queue_jobs: jobs that may wait, of a session and of all. data_bytes: of the whole folder;
    free_bytes: that must stay free on its disk. keep_days: after so many days without a change a session is removed; 0:
    never. idle_seconds: after so long without work the model's memory is given back. debug: each answer names the
    process that made it (x-process).
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8765
    token: str = ""
    hosts: tuple[str, ...] = ()
    model: str = "player"
    precision: str = "auto"
    threads: int = 0
    upload_bytes: float = 500 * MB
    song_seconds: float = 600.0
    decode_bytes: int = 3072 * MB
    decode_seconds: float = 120.0
    session_jobs: int = 64
    queue_jobs: int = 256
    data_bytes: float = 20_480 * MB
    free_bytes: float = 512 * MB
    keep_days: float = 0.0
    idle_seconds: float = 900.0
    debug: bool = False

    def __post_init__(self) -> None:
        if not self.local and not self.token:
            raise StageError(
                f"beyond localhost a token is needed: choose a long one with --token (it listens on {self.host})"
            )
        if self.token and (len(self.token) < 12 or not self.token.isascii() or not self.token.isprintable()):
            raise StageError("a token has 12 or more letters and digits: choose a longer one with --token")
        for name, (option, unit, low, high) in LIMITS.items():
            if not low * unit <= (value := getattr(self, name)) <= high * unit:
                raise StageError(f"{option} {value / unit:g} is out of range: choose {low:g} to {high:g}")
        if not 0 <= self.port <= 65535:
            raise StageError(f"{self.port} is not a port: choose 1024 to 65535")

    @property
    def local(self) -> bool:
        """Whether it listens on this machine alone."""
        return self.host in LOOPBACK

    @property
    def sessions(self) -> Path:
        return self.data / "sessions"

    @property
    def songs(self) -> Path:
        return self.data / "songs"

    @property
    def uploads(self) -> Path:
        """What is being uploaded; emptied when a server starts."""
        return self.data / "uploads"

    @property
    def live(self) -> Path:
        """Sound of takes that are being made; emptied when a server starts."""
        return self.data / "live"

    @property
    def peaks(self) -> Path:
        return self.data / "peaks"

    @property
    def database(self) -> Path:
        return self.data / "stage.sqlite"


@contextlib.contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the data folder for this server. Raises StageError where another has it."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StageError(f"cannot write into {settings.data}: {error.strerror or error}") from None
    with files.lock(settings.data, "another server"):
        yield
