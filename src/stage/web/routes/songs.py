"""Songs that are brought."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import threading
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from stage.web.database import new_id
from stage.web.errors import Refused, answers
from stage.web.schemas import Song
from stage.web.server import Server, server_of
from stage.web.uploads import megabytes

router = APIRouter(prefix="/api/songs", tags=["songs"])
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def plain(name: str) -> str:
    """A file's name as it is shown: without folders, an ending and odd characters."""
    base = re.split(r"[\\/]", name)[-1]
    base = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", base) or base
    return re.sub(r"[^\w .,()&'+-]", " ", base).strip()[:100] or "song"


@router.post("", status_code=201, response_model=Song, responses=answers(411, 413, 415, 422, 507), openapi_extra=BODY)
async def upload(
    request: Request,
    server: Annotated[Server, Depends(server_of)],
    name: Annotated[str, Query(min_length=1, max_length=300, description="The file's name.")] = "song",
):
    """Bring a song: the bytes of any audio file. It is decoded here, in a process of its own."""
    most = server.settings.upload_bytes
    too_large = Refused(413, "too_large", f"the file is larger than {megabytes(most)}: bring a smaller one")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > most:
        raise too_large
    await asyncio.to_thread(server.disk.check, int(length) if length.isdigit() else 0)
    id = new_id()
    source = server.settings.uploads / id
    try:
        got = 0
        with open(source, "wb") as file:
            async for part in request.stream():
                got += len(part)
                if got > most:
                    raise too_large
                await asyncio.to_thread(file.write, part)
        if not got:
            raise Refused(415, "not_audio", "the file is empty: bring a recording")
        return await asyncio.to_thread(_decoded, server, id, source, plain(name))
    finally:
        with contextlib.suppress(OSError):
            source.unlink(missing_ok=True)


def _decoded(server: Server, id: str, source: Path, name: str) -> dict:
    """Decode an upload, and write it down."""
    folder = server.settings.songs / id
    folder.mkdir()
    target = folder / "song.flac"
    try:
        server.disk.check()
        made = server.uploads.decode(source, target)
        row = server.database.add_song(id=id, name=name, path=f"songs/{id}/song.flac", **made)
        server.disk.add(target.stat().st_size)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return {key: row[key] for key in ("id", "name", "seconds", "rate", "channels")}


_demos = threading.Lock()


def demo_song(server: Server, demo: str, title: str, seconds: float) -> dict:
    """The song of a demo, which the first session that uses it makes."""
    with _demos:
        found = server.database.demo_song(demo)
        if found is None:
            id = new_id()
            values = dict(name=title, seconds=seconds, rate=44100, channels=2, path=f"songs/{id}/song.flac", demo=demo)
            found = server.database.add_song(id=id, **values)
        return found
