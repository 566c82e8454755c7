"""The application: `create_app`."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import stage
from stage.errors import StageError
from stage.web import priority
from stage.web.errors import Refused
from stage.web.routes import about, files, jobs, sessions, songs
from stage.web.security import Guard
from stage.web.server import Server
from stage.web.settings import Settings, only_one

STATIC = Path(__file__).parent / "static"
ABOUT = """
Sessions, takes and exports over HTTP. A request that changes something has the header `X-Stage: 1` and the content type
`application/json` (a song: `application/octet-stream`). Errors are `{"error": "one line", "code": "word"}`.
"""
CODES = {400: "invalid", 413: "too_large", 416: "range"}
WORDS = {404: ("not_found", "there is nothing at this address"), 405: ("method", "this address has no such method")}


def create_app(settings: Settings, alone: bool = True) -> FastAPI:
    """The application of a server.

    alone: it holds its data folder and does the jobs itself; without, another process does (docs/web.md). Raises
    StageError where another server has the folder, when it starts.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with only_one(settings) if alone else contextlib.nullcontext():
            server = Server(settings, alone)
            app.state.server = server
            server.start()
            priority.lower()  # after start: the threads that begin what plays are not lowered
            server.events.start()
            try:
                yield
            finally:
                await server.events.stop()
                server.stop()

    app = FastAPI(
        title="STAGE",
        version=stage.__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    for one in (about, songs, sessions, jobs, files):
        app.include_router(one.router)
    app.include_router(about.bare)
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        path = STATIC / "icon.svg"
        return FileResponse(path) if path.exists() else Response(status_code=204)

    _answer_errors(app)
    app.add_middleware(Guard, settings=settings)
    return app


def _answer_errors(app: FastAPI) -> None:
    """Each error as one line and a word."""

    def answer(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
        return JSONResponse({"error": " ".join(message.split()), "code": code}, status, headers)

    @app.exception_handler(Refused)
    def refused(_: Request, error: Refused) -> Response:
        return answer(error.status, error.code, str(error))

    @app.exception_handler(StageError)
    def wrong(_: Request, error: StageError) -> Response:
        return answer(422, "refused", str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:] if not str(part).startswith("function"))
        return answer(422, "invalid", f"{where or 'the request'}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> Response:
        code, message = WORDS.get(error.status_code, (CODES.get(error.status_code, "http"), str(error.detail)))
        return answer(error.status_code, code, message, dict(error.headers or {}))

    @app.exception_handler(sqlite3.OperationalError)
    def full(_: Request, error: sqlite3.OperationalError) -> Response:
        return answer(507, "database", f"the server's database cannot be written ({error}): is the disk full?")

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> Response:
        return answer(500, "unexpected", f"unexpected error, please report it ({type(error).__name__})")
