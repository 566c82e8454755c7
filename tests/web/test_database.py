"""What the server writes down."""

import sqlite3
import threading

import pytest

from stage.errors import StageError
from stage.web.database import Database


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "stage.sqlite")
    yield made
    made.close()


def session(database: Database, name: str = "one") -> dict:
    job = {"lane": "prepare", "do": "prepare", "title": "prepare", "wish": {}}
    return database.add_session(job, name=name, wish={"bpm": 90}, client="me", song=None, model=None)


def add(database: Database, id: str, most: int = 9, of_all: int = 9) -> dict | None:
    return database.add_job(most, of_all, session=id, client="me", lane="play", do="add", title="x", wish={"n": 1})


def test_what_changed_since_a_number(database):
    one, two = session(database), session(database, "two")
    since = database.seq
    job = add(database, one["id"])
    database.change_job(job["id"], share=0.5)
    database.change_session(two["id"])
    jobs, changed = database.changes(one["id"], since)
    assert [(j["id"], j["share"], j["wish"]) for j in jobs] == [(job["id"], 0.5, {"n": 1})] and changed is None
    jobs, changed = database.changes(two["id"], since)
    assert jobs == [] and changed["id"] == two["id"] and changed["seq"] == database.seq


def test_a_job_is_begun_once_and_waits_again_after_a_crash(tmp_path, database):
    job = add(database, session(database)["id"])
    assert database.begin_job(job["id"]) and not database.begin_job(job["id"])
    later = Database(tmp_path / "stage.sqlite")
    assert later.take_up() == 1
    found = later.job(job["id"])
    assert found["state"] == "queued" and found["tries"] == 1
    later.close()


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_asked(database):
    id = session(database)["id"]
    first, second = add(database, id), add(database, id)
    database.begin_job(first["id"])
    for job in (first, second):
        database.cancel_job(job["id"])
    first, second = database.job(first["id"]), database.job(second["id"])
    assert (first["state"], first["cancel"]) == ("running", 1) and second["state"] == "cancelled"
    database.cancel_job(second["id"])
    assert database.job(second["id"]) == second


def test_so_many_jobs_wait_and_no_more(database):
    one, two = session(database)["id"], session(database)["id"]
    assert all(add(database, one, most=3) for _ in range(2)) and add(database, one, most=2 + 1) is None
    assert add(database, two, of_all=4) is None and add(database, two, of_all=5)


def test_a_removed_session_leaves_no_job_and_no_file(database):
    id = session(database)["id"]
    job = add(database, id)
    file = database.file_ids(id, [("take", "a.flac")])["take", "a.flac"]
    database.remove_session(id)
    assert database.session(id) is None and database.file(file) is None and database.waiting() == []
    assert database.job(job["id"])["state"] == "cancelled"


def test_one_file_of_two_sessions_has_an_id_in_each(database):
    one, two = session(database)["id"], session(database)["id"]
    wanted = ("song", "songs/x/song.flac")
    first, second = database.file_ids(one, [wanted]), database.file_ids(two, [wanted])
    assert first != second and database.file_ids(one, [wanted]) == first


def test_many_threads_write_at_once(database):
    id = session(database)["id"]
    threads = [threading.Thread(target=lambda: [add(database, id, 999, 999) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database.waiting("play")) == 160
    assert len({row["seq"] for row in database.waiting("play")}) == 160


def test_a_database_of_a_newer_version_or_of_something_else_is_refused(tmp_path, database):
    with sqlite3.connect(tmp_path / "stage.sqlite") as other:
        other.execute("update meta set value = 99 where name = 'version'")
    with pytest.raises(StageError, match="newer version"):
        Database(tmp_path / "stage.sqlite")
    (tmp_path / "text.sqlite").write_text("no database at all, but a text of some length" * 20)
    with pytest.raises(StageError, match="cannot be used"):
        Database(tmp_path / "text.sqlite")
