"""Limits of size, queue and disk, each with its answer; what is old goes, what is new stays."""

import asyncio
import json
import os
import time
from dataclasses import replace

import pytest

from stage.web.app import create_app
from stage.web.disk import DAY, Disk
from stage.web.errors import Refused
from stage.web.server import Server
from stage.web.settings import MB, Settings


@pytest.fixture
def server(tmp_path):
    made = Server(Settings(tmp_path / "data", upload_bytes=MB, free_bytes=0), alone=False)
    yield made
    made.stop()


def begun(server: Server, name: str = "one", age: float = 0.0, size: int = 1000) -> str:
    """A session that is ready, changed so many days ago."""
    job = {"lane": "prepare", "do": "prepare", "title": "prepare", "wish": {}}
    row = server.database.add_session(job, name=name, wish={}, client="me", song=None, model=None)
    job = server.database.waiting()[-1]
    server.database.begin_job(job["id"])
    server.database.change_job(job["id"], state="done", ended=time.time())
    server.database.change_session(row["id"], state="ready")
    with server.database._writing():
        server.database._update("sessions", row["id"], {"changed": time.time() - age * DAY})
    folder = server.settings.sessions / row["id"]
    folder.mkdir()
    (folder / "take").write_bytes(bytes(size))
    return row["id"]


def ask(server: Server, method: str, path: str, parts: list[bytes], **headers: str) -> tuple[int, dict]:
    """Status and JSON of a request, through the whole application."""
    app, sent, waiting = create_app(server.settings, alone=False), [], [*parts]
    app.state.server = server
    path, _, query = path.partition("?")
    pairs = {"host": "localhost", "x-stage": "1", "content-type": "application/octet-stream"} | headers

    async def receive():
        body = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode()}
    scope |= {"root_path": "", "scheme": "http", "query_string": query.encode(), "client": ("127.0.0.1", 1)}
    scope |= {"server": ("localhost", 80), "headers": [(k.encode(), v.encode()) for k, v in pairs.items()]}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


def test_a_song_that_is_too_large_is_refused_before_it_has_come(server):
    for headers in ({"content-length": str(2 * MB)}, {"transfer-encoding": "chunked"}):
        status, said = ask(server, "POST", "/api/songs?name=x.wav", [bytes(MB // 2)] * 4, **headers)
        assert (status, said["code"]) == (413, "too_large") and "1 MB" in said["error"]
    assert list(server.settings.uploads.iterdir()) == [] and list(server.settings.songs.iterdir()) == []


def test_nothing_is_left_of_a_song_that_is_none_and_its_name_leads_nowhere(server):
    before = sorted(server.settings.data.parent.rglob("*"))
    for name in ("..%2f..%2f..%2fevil.wav", "%2fetc%2fpasswd", "C:%5Cboot.ini", "a%00b"):
        status, said = ask(server, "POST", f"/api/songs?name={name}", [b"no song"])
        assert (status, said["code"]) == (415, "not_audio")
    assert sorted(server.settings.data.parent.rglob("*")) == before
    assert ask(server, "POST", "/api/songs?name=x", [])[0] == 415


def test_a_body_without_end_is_cut(server):
    status, said = ask(server, "POST", "/api/sessions", [bytes(MB)] * 5, **{"content-type": "application/json"})
    assert (status, said["code"]) == (413, "too_large")


def test_a_full_queue_and_a_full_disk_have_answers(server):
    row = server.row(begun(server))
    server.settings = replace(server.settings, session_jobs=2)
    for _ in range(2):
        server.queue(row, "me", "x", {"do": "add"})
    with pytest.raises(Refused) as refused:
        server.queue(row, "me", "x", {"do": "add"})
    assert (refused.value.status, refused.value.code) == (429, "queue_full")
    server.disk = Disk(replace(server.settings, data_bytes=100), server.database)
    with pytest.raises(Refused, match="remove some") as refused:
        server.queue(row, "me", "x", {"do": "add"})
    assert (refused.value.status, refused.value.code) == (507, "disk_full")
    server.disk = Disk(replace(server.settings, free_bytes=1 << 60), server.database)
    with pytest.raises(Refused, match="make room"):
        server.disk.check()


def test_sessions_that_are_old_go_if_that_was_asked_for(server):
    old, new = begun(server, age=40), begun(server, age=10)
    assert server.disk.clean() == []
    server.disk.settings = replace(server.settings, keep_days=30.0)
    assert server.disk.clean() == [old]
    assert [row["id"] for row in server.database.sessions()] == [new]
    assert [path.name for path in server.settings.sessions.iterdir()] == [new]


def test_where_there_is_too_much_the_oldest_goes_and_one_in_use_never(server):
    ids = [begun(server, age=age, size=MB) for age in (0, 3, 2, 1)]
    server.disk.settings = replace(server.settings, keep_days=30.0, data_bytes=5 * MB // 2)
    assert server.disk.clean() == [ids[1], ids[2]]
    server.disk.settings = replace(server.settings, keep_days=30.0, data_bytes=1)
    assert server.disk.clean() == [ids[3]]


def test_songs_that_nobody_uses_and_folders_of_nobody_go_after_a_day(server):
    song = server.database.add_song(name="x", seconds=1.0, rate=44100, channels=2, path="songs/a/song.flac", id="a")
    used = server.database.add_song(name="y", seconds=1.0, rate=44100, channels=2, path="songs/b/song.flac", id="b")
    job = {"lane": "prepare", "do": "prepare", "title": "prepare", "wish": {}}
    server.database.add_session(job, name="s", wish={}, client="me", song=used["id"], model=None)
    for name in ("songs/a", "songs/b", "songs/stray", "sessions/stray"):
        (server.settings.data / name).mkdir()
    server.disk.clean()
    assert (server.settings.songs / "a").exists() and (server.settings.sessions / "stray").exists()
    past = time.time() - 2 * DAY
    for path in server.settings.data.glob("*/*"):
        os.utime(path, (past, past))
    with server.database._writing():
        server.database._db.execute("update songs set made = ?", [past])
    server.disk.clean()
    left = {str(path.relative_to(server.settings.data)) for path in server.settings.data.glob("s*s/*")}
    assert left == {"songs/b"} and server.database.song(song["id"]) is None
