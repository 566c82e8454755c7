"""Jobs, and the sound of a take while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from stage.errors import StageError
from stage.generation.performance import Performance
from stage.generation.request import CANDIDATES, check_sampling
from stage.web import schemas
from stage.web.database import ENDED, Row
from stage.web.errors import answers, missing
from stage.web.server import Server, client_of, server_of

router = APIRouter(prefix="/api", tags=["jobs"])
On = Annotated[Server, Depends(server_of)]
NAMED = "instruments are named here, not read from files: GET /api/models lists them"
LOOK = 0.1
"""Seconds between two looks at a file that grows."""


@router.post("/sessions/{id}/jobs", status_code=202, response_model=schemas.Job, responses=answers(404, 409, 429, 507))
def add(id: str, wish: schemas.NewJob, request: Request, server: On):
    """Have something made; it waits for its turn."""
    row = server.ready(id)
    _check(server, row, wish)
    job = server.queue(row, client_of(request), _title(wish), wish.model_dump())
    return server.documents.job(job)


@router.get("/jobs/{id}", response_model=schemas.Job, responses=answers(404))
async def one(id: str, server: On):
    """A job as it is now."""
    body = server.documents.written_job(_row(server, id))
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


@router.delete("/jobs/{id}", response_model=schemas.Job, responses=answers(404))
def cancel(id: str, server: On):
    """Cancel a job. One that has ended stays as it is."""
    _row(server, id)
    server.database.cancel_job(id)
    return server.documents.job(_row(server, id))


@router.get(
    "/jobs/{id}/audio",
    response_class=StreamingResponse,
    responses=answers(404) | {200: {"content": {"audio/wav": {}}, "description": "A WAV file of unknown length"}},
)
async def audio(
    id: str,
    server: On,
    take: Annotated[int | None, Query(ge=1, le=1000, description="Of the job's takes; the one being made.")] = None,
):
    """The sound of a take while it is made, at about the level that it will have."""
    job = await asyncio.to_thread(_row, server, id)
    number = take or job["live"]
    path = server.settings.live / f"{id}-{number}.wav"
    if number is None or not (path.exists() or path.with_suffix(".whole").exists()):
        raise missing("sound of this job")
    return StreamingResponse(_growing(server, id, path), media_type="audio/wav", headers={"cache-control": "no-store"})


async def _growing(server: Server, id: str, path: Path) -> AsyncIterator[bytes]:
    """The bytes of a file that grows, until it has its last name."""
    whole = path.with_suffix(".whole")
    try:
        file = open(path if path.exists() else whole, "rb")
    except OSError:
        return
    with file:
        while not server.events.closing:
            ended = not path.exists()
            part = await asyncio.to_thread(file.read, 1 << 16)
            if part:
                yield part
            elif ended:
                return
            else:
                await asyncio.sleep(LOOK)


def _row(server: Server, id: str) -> Row:
    row = server.database.job(id)
    if row is None or (server.database.session(row["session"]) is None and row["state"] not in ENDED):
        raise missing("job")
    return row


def _check(server: Server, row: Row, wish: Any) -> None:
    """Raise StageError for what is known to fail before it waits: a track, a stem, values out of range."""
    tracks = {track.name for track in server.documents.book(row["id"]).step.tracks}
    if hasattr(wish, "track") and wish.track not in tracks:
        raise StageError(f'there is no track "{wish.track}"')
    stem = getattr(wish, "stem", None)
    performance = getattr(wish, "performance", None)
    if performance:
        try:
            how = Performance(**performance)
        except TypeError as error:
            raise StageError(f"the performance cannot be used: {error}") from None
        if (named := how.kit or how.instrument) and _is_path(named):
            raise StageError(NAMED)
        if stem is not None:
            how.check(stem)
    if isinstance(wish, schemas.Sound) and _is_path(wish.instrument):
        raise StageError(NAMED)
    if sampling := getattr(wish, "sampling", None):
        try:
            check_sampling(**sampling)
        except TypeError:
            raise StageError("the sampling has values for guidance, text_guidance, top_k, top_p, temperature") from None
    if isinstance(wish, schemas.Redo) and wish.bars is None and wish.seconds is None:
        raise StageError(f"which bars? Send bars or seconds ({CANDIDATES} candidates are made of them)")


def _is_path(name: str) -> bool:
    from stage.instruments.stems import is_file

    return is_file(name) or any(mark in name for mark in "/\\")


def _title(wish: Any) -> str:
    """A job in a few words."""
    if isinstance(wish, schemas.Add):
        return f"{wish.stem}, {wish.takes} takes" if wish.takes > 1 else wish.stem
    if isinstance(wish, schemas.Band):
        return f"band: {', '.join(wish.stems)}"
    if isinstance(wish, schemas.Export):
        return "export"
    if isinstance(wish, schemas.Redo):
        return f"redo {wish.track}"
    if isinstance(wish, schemas.Sound):
        return f"{wish.track} on {wish.instrument}"
    more = {"take": "more of", "like": "like the kept take of", "other": "other takes of"}
    return f"{wish.n} {more[wish.do]} {wish.track}"
