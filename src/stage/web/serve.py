"""Runs a server until it is stopped."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from stage.errors import StageError
from stage.web.settings import Settings, only_one


def serve(settings: Settings, browser: bool = True, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until Ctrl-C. browser: open the page in one. on_ready: called with the address when it answers.

    Raises StageError where the port is taken, or another server has the folder.
    """
    with only_one(settings):
        pass  # said before anything is loaded; the application holds it from its start on
    listening = _listen(settings)
    from stage.web.app import create_app  # takes seconds, as torch does

    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{listening.getsockname()[1]}/"
    config = uvicorn.Config(
        create_app(settings), log_level="warning", server_header=False, timeout_graceful_shutdown=3, lifespan="on"
    )
    server = uvicorn.Server(config)

    def ready() -> None:
        while not server.started and not server.should_exit:
            threading.Event().wait(0.05)
        if server.started:
            if on_ready:
                on_ready(address)
            if browser:
                webbrowser.open(address)

    threading.Thread(target=ready, daemon=True).start()
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()


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
