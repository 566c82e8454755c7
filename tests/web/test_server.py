"""A server as a user starts it: jobs, crashes, many users."""

import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile

import pytest
import soundfile

from helpers.fakes import song
from helpers.servers import Running, until
from stage import StageError
from stage.client import Client, Refused
from stage.session import Session


@pytest.fixture(scope="module")
def begun(running):
    """A session on a tempo, with a track of two takes."""
    session = running.client.begin(bpm=120, bars=3, chords="Am F", name="trio")
    session.add("drums", takes=2, seed=5)
    return session


def test_the_whole_way_from_a_song_to_an_export(running, tmp_path):
    soundfile.write(tmp_path / "My tune.wav", song(4.0).T, 44100)
    session = running.client.begin(song=tmp_path / "My tune.wav")
    state = session.state
    assert (state["name"], state["source"]["kind"], state["seconds"], state["rate"]) == ("My tune", "song", 4.0, 44100)
    assert session.add("drums", seed=1)["takes"][0]["seed"] == 1
    bass = session.add("bass", takes=2, seed=3)
    assert [take["seed"] for take in bass["takes"]] == [3, 4] and session.state["undo"] == "add bass"
    session.step("keep", track="bass", take=2).step("mix", track="bass", gain=-3, pan=0.5)
    assert session.track("bass")["kept"] == bass["takes"][1]["name"] and session.track("bass")["gain"] == -3
    session.play("redo", track="drums", seconds=[[1, 2]], candidates=2)
    assert session.track("drums")["takes"][1]["regions"] == [[1.0, 2.0]]
    old = session.track("bass")
    kit = "fretless" if old["takes"][1]["instrument"] != "fretless" else "pick"
    session.play("sound", track="bass", instrument=kit)
    assert session.state["undo"] == f"bass on {kit}" and session.track("bass")["takes"][2]["instrument"] == kit
    assert [track["name"] for track in session.step("move", track="bass", to=1).tracks] == ["bass", "drums"]
    session.undo().undo()
    assert session.track("bass") == old
    for file in (session.state["source"]["file"], session.state["click"], session.track("bass")["takes"][0]["file"]):
        path = running.client.fetch(file, tmp_path / f"{file}.sound")
        assert soundfile.info(path).frames == 4 * 44100 and soundfile.info(path).samplerate == 44100
        peaks = running.client.ask("GET", f"/api/files/{file}/peaks?n=50")
        assert len(peaks["peaks"]) == 50 and all(-1 <= low <= high <= 1 for low, high in peaks["peaks"])
    notes = running.client.ask("GET", f"/api/files/{session.track('drums')['takes'][0]['notes']}")
    assert notes and all(note["piece"] and 0 <= note["start"] <= 4 for note in notes)
    with zipfile.ZipFile(session.export(tmp_path / "out.zip")) as archive:
        names = {name.split("/")[-1] for name in archive.namelist()}
        assert {"song.wav", "drums.wav", "bass.wav", "mix.wav", "My tune.dawproject", "My tune.rpp"} <= names
        assert all(name.startswith("My tune/") and ".." not in name for name in archive.namelist())
    session.undo().undo()
    assert session.track("bass")["gain"] == 0 and session.state["again"]
    session.remove()
    with pytest.raises(Refused) as refused:
        running.client.session(session.id)
    assert refused.value.status == 404 and not (running.data / "sessions" / session.id).exists()


def test_a_range_of_a_file(running, begun):
    take = begun.track("drums")["takes"][0]
    with running.client.open("GET", f"/api/files/{take['file']}", headers={"Range": "bytes=0-3"}) as answer:
        assert answer.status == 206 and answer.read() == b"fLaC"
        assert "immutable" in answer.headers["cache-control"] and answer.headers["content-type"] == "audio/flac"


def test_events_come_as_things_happen_and_again_for_who_was_away(running, begun):
    got = []

    def listen(last=None):
        for kind, data, number in Client(running.address, token="").session(begun.id).events(last):
            got.append((kind, data, number))
            if kind == "job" and data["state"] == "done":
                return

    first = threading.Thread(target=listen, daemon=True)
    first.start()
    until(lambda: got)
    done = begun.play("take", track="drums")
    first.join(20)
    states = [data["state"] for kind, data, _ in got if kind == "job" and data["id"] == done["id"]]
    assert states[-1] == "done" and got[0][0] == "session"
    numbers = [number for *_, number in got]
    assert numbers == sorted(numbers)
    seen, before = got[0][2], list(got)
    got.clear()
    listen(seen)
    assert {data["id"] for kind, data, _ in got if kind == "job"} == {done["id"]} and got[-1][2] >= before[-1][2]


def test_the_sound_of_a_take_while_it_is_made(running, begun):
    job = begun.queue("take", track="drums", n=2)
    until(lambda: running.client.ask("GET", f"/api/jobs/{job['id']}")["live"] == 1)
    with running.client.open("GET", f"/api/jobs/{job['id']}/audio?take=1") as answer:
        heard = answer.read()  # ends when the take is there
    assert heard[:4] == b"RIFF" and len(heard) == 44 + 4 * round(6.0 * 44100)
    done = begun.finish(job)
    assert len(done["result"]["takes"]) == 2
    begun.undo()


def test_a_job_is_cancelled_and_what_it_made_stays(running, begun):
    before = len(begun.refresh().track("drums")["takes"])
    job = begun.queue("take", track="drums", n=16)
    until(lambda: running.client.ask("GET", f"/api/jobs/{job['id']}")["result"])
    running.client.cancel(job["id"])
    ended = until(lambda: (j := running.client.ask("GET", f"/api/jobs/{job['id']}"))["state"] == "cancelled" and j)
    assert before < len(begun.refresh().track("drums")["takes"]) < before + 16 and ended["result"]["takes"]
    assert begun.play("take", track="drums")["state"] == "done"  # what plays goes on


def test_what_cannot_be_is_refused_with_a_line_and_a_status(running, begun):
    client, path = running.client, f"/api/sessions/{begun.id}"
    for status, method, where, body in [
        (409, "POST", f"{path}/steps", {"do": "undo", "revision": 1}),
        (422, "POST", f"{path}/steps", {"do": "keep", "track": "horns", "take": 1}),
        (422, "POST", f"{path}/steps", {"do": "mix", "track": "drums", "gain": 99}),
        (422, "POST", f"{path}/steps", {"do": "dance"}),
        (422, "POST", f"{path}/jobs", {"do": "add", "stem": "drums", "takes": 99}),
        (422, "POST", f"{path}/jobs", {"do": "add", "stem": "drums", "performance": {"kit": "/etc/passwd"}}),
        (422, "POST", f"{path}/jobs", {"do": "add", "stem": "bass", "performance": {"instrument": "a.sf2"}}),
        (422, "POST", f"{path}/jobs", {"do": "add", "stem": "drums", "performance": {"wild": 1}}),
        (422, "POST", f"{path}/jobs", {"do": "redo", "track": "drums"}),
        (422, "POST", f"{path}/jobs", {"do": "sound", "track": "drums", "instrument": "kits/../a.sfz"}),
        (422, "POST", f"{path}/steps", {"do": "move", "track": "drums", "to": 2}),
        (422, "POST", "/api/sessions", {"bpm": 90, "song": "x"}),
        (422, "POST", "/api/sessions", {"bpm": 90, "model": "../../etc"}),
        (404, "POST", "/api/sessions", {"song": "x"}),
        (404, "GET", "/api/files/..%2f..%2fstage.sqlite", None),
        (404, "GET", "/static/..%2f..%2fapp.py", None),
        (404, "GET", "/api/sessions/none", None),
        (405, "PUT", "/api/sessions", {}),
    ]:
        with pytest.raises(Refused) as refused:
            client.ask(method, where, body)
        assert refused.value.status == status and "\n" not in str(refused.value), (where, body, str(refused.value))
    job = begun.queue("add", stem="horns")  # only the model knows its stems
    with pytest.raises(StageError, match='plays no "horns"'):
        begun.finish(job)
    assert [j["state"] for j in begun.refresh().state["jobs"]] == ["failed"]


def test_every_answer_is_closed_to_other_pages(running):
    with urllib.request.urlopen(f"{running.address}/api/health") as answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        assert json.loads(answer.read())["status"] == "ok"
    assert "access-control-allow-origin" not in headers and headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"] and "unsafe" not in str(headers)


def test_a_second_server_on_the_same_folder_is_refused(running, player):
    command = [sys.executable, "-m", "stage", "web", "--port", "0", "--no-browser", "--data", str(running.data)]
    found = subprocess.run([*command, "--model", str(player)], capture_output=True, text=True, timeout=60)
    assert found.returncode == 2 and "in use by another server" in found.stderr and found.stderr.count("\n") == 1


def test_fifty_jobs_of_two_users_are_done_in_turn(running):
    one, two = (running.client.begin(bpm=200, bars=1, name=name) for name in ("one", "two"))
    for session in (one, two):
        session.add("bass")
    jobs = [one.queue("take", track="bass") for _ in range(46)]
    jobs += [two.queue("take", track="bass") for _ in range(4)]
    with urllib.request.urlopen(f"{running.address}/metrics") as answer:
        text = answer.read().decode()
    assert int(re.search(r'stage_jobs{state="queued"} (\d+)', text)[1]) > 30
    position = running.client.ask("GET", f"/api/jobs/{jobs[-1]['id']}")["position"]
    assert position <= 8  # behind four of each
    for job in jobs[46:]:
        two.finish(job)
    states = [running.client.ask("GET", f"/api/jobs/{job['id']}")["state"] for job in jobs[:46]]
    assert states[10:] == ["queued"] * 36 and "done" in states
    one.remove()
    assert len(two.track("bass")["takes"]) == 5
    until(lambda: running.client.health()["queue"] == 0)
    assert {running.client.ask("GET", f"/api/jobs/{job['id']}")["state"] for job in jobs[20:46]} == {"cancelled"}


@pytest.mark.slow
def test_fifty_jobs_that_wait_are_all_done(running):
    sessions = [running.client.begin(bpm=200, bars=1) for _ in range(5)]
    began = time.perf_counter()
    jobs = [(session, session.queue("add", stem=stem)) for stem in ("drums", "bass") * 5 for session in sessions]
    for session, job in jobs:
        assert session.finish(job)["result"]["takes"]
    print(f"{len(jobs)} jobs of a bar in {time.perf_counter() - began:.1f} s")
    assert len(jobs) == 50 and all(len(session.refresh().tracks) == 10 for session in sessions)
    assert running.client.health()["queue"] == 0


def test_a_server_that_was_killed_while_it_played_goes_on_where_it_was(tmp_path, player):
    with Running(tmp_path / "data", player) as running:
        session = running.client.begin(bpm=120, bars=3)
        first = session.queue("add", stem="drums", takes=3, seed=10)
        second = session.queue("add", stem="bass", seed=20)
        until(lambda: running.client.ask("GET", f"/api/jobs/{first['id']}")["result"])
        children = running.kill()
        until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), 10)
        running.log.close()
        running.process.stdout.close()
        running.start()
        again = running.client.session(session.id)
        assert {job["id"] for job in again.state["jobs"]} == {first["id"], second["id"]}
        made = again.finish(first)["result"]["takes"]
        again.finish(second)
        assert [track["name"] for track in again.tracks] == ["drums", "bass"]
        assert [take["seed"] for take in again.track("drums")["takes"]] == [10, 11, 12]
        assert [take["name"] for take in again.track("drums")["takes"]] == made
        assert Session.open(running.data / "sessions" / session.id).verify(again=False) == []
        time.sleep(0.1)
        assert "Traceback" not in running.said()
