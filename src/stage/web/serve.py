"""Runs a server until it is stopped: in one process, or as one that does the jobs beside several that answer."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from stage.errors import StageError
from stage.web.settings import Settings, only_one

if TYPE_CHECKING:
    from fastapi import FastAPI

SETTINGS = "STAGE_WEB_SETTINGS"
"""Variable of the environment that gives a replica its settings, as JSON."""
OPTIONS: dict[str, Any] = dict(log_level="warning", server_header=False, timeout_graceful_shutdown=3, lifespan="on")


def serve(
    settings: Settings, browser: bool = True, on_ready: Callable[[str], None] | None = None, workers: int = 1
) -> None:
    """Serve until Ctrl-C. browser: open the page in one. on_ready: called with the address when it answers. workers:
    processes that answer; 0: none, for replicas that are served elsewhere (docs/web.md).

    Raises StageError where the port is taken, or another server has the folder.
    """
    if workers < 0:
        raise StageError(f"{workers} processes cannot answer: choose 1 or more, or 0 for the jobs alone")
    with only_one(settings):
        pass  # said before anything is loaded; it is held from the start on
    listening = _listen(settings) if workers else None
    if listening is None:
        _beside(settings, _wait_for_end)
        return
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    port = listening.getsockname()[1]
    address = f"http://{host}:{port}/"

    def ready() -> None:
        if not _answers(host, port):
            return
        if on_ready:
            on_ready(address)
        if browser:
            webbrowser.open(address)

    threading.Thread(target=ready, daemon=True).start()
    if workers > 1:
        listening.close()
        _beside(settings, lambda: _several(settings, port, workers))
        return
    with listening:
        from stage.web.app import create_app  # takes a second

        try:
            uvicorn.Server(uvicorn.Config(create_app(settings), **OPTIONS)).run(sockets=[listening])
        except KeyboardInterrupt:
            pass


def replica() -> FastAPI:
    """The application of a process that answers while another does the jobs, with the settings of the environment."""
    from stage.web.app import create_app

    try:
        values = json.loads(os.environ[SETTINGS])
        settings = Settings(**values | {"data": Path(values["data"]), "hosts": tuple(values.get("hosts", ()))})
    except (KeyError, ValueError, TypeError) as error:
        raise StageError(f"{SETTINGS} holds no settings ({error}): it is JSON, with data at least") from None
    return create_app(settings, alone=False)


def _several(settings: Settings, port: int, workers: int) -> None:
    """Processes that answer on one port."""
    values = dataclasses.asdict(settings) | {"data": str(settings.data)}
    os.environ[SETTINGS] = json.dumps(values)
    uvicorn.run("stage.web.serve:replica", factory=True, host=settings.host, port=port, workers=workers, **OPTIONS)


def _beside(settings: Settings, work: Callable[[], None]) -> None:
    """Do the jobs of the folder while `work` goes on."""
    from stage.web.server import Server

    with only_one(settings):
        server = Server(settings)
        server.start()
        try:
            work()
        except KeyboardInterrupt:
            pass
        finally:
            server.stop()


def _wait_for_end() -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(3600):
        pass


def _answers(host: str, port: int) -> bool:
    """Wait until something answers; False where nothing does for minutes."""
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    for _ in range(2400):
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/api/health", timeout=30):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.1)
    return False


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.host, settings.port))
    except (OSError, UnicodeError) as error:
        made.close()
        why = getattr(error, "strerror", None) or error
        raise StageError(
            f"cannot listen on {settings.host}, port {settings.port}: {why}; choose another with --port"
        ) from None
    return made
