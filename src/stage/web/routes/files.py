"""Files by their ids."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse, JSONResponse

from stage.session.handoff.export import file_name
from stage.web import schemas
from stage.web.errors import answers
from stage.web.server import Server, server_of

router = APIRouter(prefix="/api/files", tags=["files"])
On = Annotated[Server, Depends(server_of)]
LONG = {"cache-control": "private, max-age=31536000, immutable"}
"""What an id stands for never changes."""


@router.get(
    "/{id}",
    response_class=FileResponse,
    responses=answers(404, 416)
    | {
        200: {
            "description": "The file; of notes, a list of them",
            "content": {
                "audio/flac": {},
                "audio/wav": {},
                "application/zip": {},
                "application/json": {"schema": {"type": "array", "items": schemas.Note.model_json_schema()}},
            },
        },
        206: {"description": "A range of the file"},
    },
)
def fetch(id: str, server: On):
    """The bytes of a file, or a range of them."""
    row, path = server.sounds.find(id)
    if row["kind"] == "notes":
        return JSONResponse(server.sounds.notes(path), headers=LONG)
    name = None
    if row["kind"] == "export":
        session = server.database.session(row["session"])
        name = f"{file_name(session['name'] if session else 'session')}.zip"
    kind = server.sounds.media_type(row, path)
    return FileResponse(path, media_type=kind, filename=name, headers=LONG)


@router.get("/{id}/peaks", response_model=schemas.Peaks, responses=answers(404))
def peaks(id: str, server: On, n: Annotated[int, Query(ge=1, le=60000)] = 1000):
    """Lowest and highest values of a sound, for drawing it; fewer than n where the sound is shorter."""
    return JSONResponse(server.sounds.peaks(id, n), headers=LONG)
