"""Sessions, their quick steps and their events."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse

from stage.beats.grid import BeatGrid, beats_per_bar
from stage.chords.chart import Chart, Span
from stage.chords.symbols import parse
from stage.errors import StageError
from stage.session.shared import SharedSession
from stage.session.state import Song
from stage.web import preparing, schemas
from stage.web.errors import Refused, answers, missing
from stage.web.routes.about import models_of
from stage.web.routes.songs import demo_song
from stage.web.server import Server, client_of, server_of

router = APIRouter(prefix="/api/sessions", tags=["sessions"])
On = Annotated[Server, Depends(server_of)]


@router.post("", status_code=202, response_model=schemas.Session, responses=answers(404, 409, 422, 429, 507))
def begin(wish: schemas.NewSession, request: Request, server: On):
    """Begin a session. Its state is "preparing" until its beats and chords are found."""
    given = [name for name in ("song", "demo", "bpm") if getattr(wish, name) is not None]
    if len(given) != 1:
        raise Refused(422, "source", "a session begins with one of these: a song, a demo, or a tempo (bpm)")
    server.disk.check()
    server.check_queue()
    song, name = None, wish.name
    if wish.song is not None:
        song = server.database.song(wish.song)
        if song is None:
            raise missing("song")
    elif wish.demo is not None:
        if wish.demo not in preparing.DEMOS or preparing.recording() is None:
            raise missing("demo")
        demo = preparing.DEMOS[wish.demo]
        song = demo_song(server, wish.demo, demo.title, demo.seconds)
    else:
        beats_per_bar(wish.meter)
    _check_model(server, wish.model)
    name = name or (song["name"] if song else f"{wish.bpm:g} BPM, {wish.meter}")
    job = {"lane": "prepare", "do": "prepare", "title": f"prepare {name}", "wish": wish.model_dump()}
    row = server.database.add_session(
        job,
        name=name,
        wish=wish.model_dump(),
        model=wish.model,
        song=None if song is None else song["id"],
        client=client_of(request),
    )
    server.wake()
    return server.documents.session(server.row(row["id"]))


@router.get("", response_model=list[schemas.SessionLine], responses=answers())
def all_sessions(server: On):
    """All sessions, the one that was changed last first."""
    return [server.documents.line(row) for row in server.database.sessions()]


@router.get(
    "/{id}",
    response_model=schemas.Session,
    responses=answers(404) | {304: {"description": "As it was, for If-None-Match with its ETag"}},
)
async def one(id: str, server: On, if_none_match: Annotated[str | None, Header()] = None):
    """A whole session."""
    body, mark = server.documents.written(server.row(id))
    headers = {"etag": mark, "cache-control": "no-cache"}
    if if_none_match == mark:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.patch("/{id}", response_model=schemas.Session, responses=answers(404))
def change(id: str, wish: schemas.SessionChange, server: On):
    """Another name, or another model for what is made from now on."""
    server.row(id)
    _check_model(server, wish.model)
    values = wish.model_dump(exclude_unset=True)
    if values.get("name", "") is None:
        raise StageError("a session has a name: send one")
    if values:
        server.database.change_session(id, **values)
    return server.documents.session(server.row(id))


@router.delete("/{id}", status_code=204, responses=answers(404))
def remove(id: str, server: On):
    """Remove a session with all that it holds."""
    server.row(id)
    server.disk.remove(id)
    return Response(status_code=204)


@router.post("/{id}/steps", response_model=schemas.Session, responses=answers(404, 409))
def step(id: str, wish: schemas.NewStep, server: On):
    """A step that plays nothing; the session as it is then is the answer."""
    with server.step(id, wish.revision) as session:
        _do(session, wish)
    return server.documents.session(server.row(id))


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses=answers(404) | {200: {"content": {"text/event-stream": {}}, "description": "Events"}},
)
async def events(id: str, server: On, last_event_id: Annotated[str | None, Header()] = None):
    """Events of a session: `job` with a job, `session` with its revision."""
    server.row(id)
    since = int(last_event_id) if last_event_id and last_event_id.isascii() and last_event_id.isdigit() else None
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(server.events.of(id, since), media_type="text/event-stream", headers=headers)


def _check_model(server: Server, name: str | None) -> None:
    """Raise StageError for a model that is not at hand, or a path."""
    if name is not None and name not in [model.name for model in models_of(server.settings)]:
        raise StageError(f"there is no model {name!r} here: GET /api/models lists those that are")


def _do(session: SharedSession, wish: Any) -> None:
    """Do a quick step."""
    if isinstance(wish, schemas.Keep):
        session.keep(wish.track, wish.take)
    elif isinstance(wish, schemas.Mix):
        session.change(wish.track, gain=wish.gain, pan=wish.pan, mute=wish.mute, lock=wish.lock)
    elif isinstance(wish, schemas.Rename):
        session.change(wish.track, name=wish.name)
    elif isinstance(wish, schemas.Move):
        session.move(wish.track, wish.to)
    elif isinstance(wish, schemas.Remove):
        session.remove(wish.track)
    elif isinstance(wish, schemas.Undo):
        session.undo()
    elif isinstance(wish, schemas.Again):
        session.redo_step()
    elif isinstance(wish, schemas.Beats):
        _beats(session, wish)
    elif isinstance(wish, schemas.Sections):
        session.mend(form=wish.form)
    else:
        _chords(session, wish)


def _beats(session: SharedSession, wish: schemas.Beats) -> None:
    if (wish.change is None) == (wish.times is None):
        raise StageError("beats are changed by a word (half, double, shift) or by times: send one of them")
    if wish.change == "shift":
        session.mend(shift=wish.by)
    elif wish.change is not None:
        session.mend(grid=wish.change)
    else:
        times, division = np.array(wish.times), session.time.division
        numbers = wish.numbers or []
        if len(numbers) != len(times):
            raise StageError("each beat has a time and a number: send as many numbers as times")
        session.mend(grid=BeatGrid(times + _start(session), np.array(numbers), division))


def _chords(session: SharedSession, wish: schemas.Chords) -> None:
    if (wish.chords is None) == (wish.text is None):
        raise StageError("chords are spans or text: send one of them")
    if wish.chords is None:
        session.mend(chords=wish.text)
        return
    start = _start(session)
    spans = []
    for a, b, name in wish.chords:
        if isinstance(a, str) or isinstance(b, str) or not isinstance(name, str):
            raise StageError('a chord is a start, an end and a name, like [0.0, 2.0, "Am"]')
        spans.append(Span(a + start, b + start, parse(name)))
    session.mend(chords=Chart(tuple(spans)))


def _start(session: SharedSession) -> float:
    """Where the session's stretch begins in its song: times of beats and chords count from the song's beginning."""
    source = session.book.source
    return source.start if isinstance(source, Song) else 0.0
