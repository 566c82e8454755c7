"""What is said before a server starts."""

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from helpers.servers import Running, until
from stage import files
from stage.errors import StageError
from stage.web import priority
from stage.web.serve import SETTINGS, replica, serve
from stage.web.settings import LIMITS, Settings


def test_a_port_that_is_taken_and_a_folder_that_is_held_are_refused_at_once(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StageError, match="choose another with --port"):
            serve(Settings(tmp_path / "data", port=taken.getsockname()[1]), browser=False)
    with files.lock(tmp_path / "data"), pytest.raises(StageError, match="in use by another server"):
        serve(Settings(tmp_path / "data"), browser=False)
    with pytest.raises(StageError, match="choose 1 or more"):
        serve(Settings(tmp_path / "data"), browser=False, workers=-1)


def test_a_replica_has_its_settings_from_the_environment(tmp_path, monkeypatch):
    for text in (None, "", "[]", '{"data": "x", "colour": 1}', "{}"):
        monkeypatch.delenv(SETTINGS, raising=False)
        if text is not None:
            monkeypatch.setenv(SETTINGS, text)
        with pytest.raises(StageError, match="holds no settings"):
            replica()
    monkeypatch.setenv(SETTINGS, json.dumps({"data": str(tmp_path), "host": "0.0.0.0"}))
    with pytest.raises(StageError, match="token"):
        replica()
    monkeypatch.setenv(SETTINGS, json.dumps({"data": str(tmp_path), "port": 1234}))
    assert replica().title == "STAGE" and list(tmp_path.iterdir()) == []


def test_a_limit_out_of_range_is_refused_by_its_option(tmp_path):
    for field, (option, *_) in LIMITS.items():
        with pytest.raises(StageError, match=f"{option} .*is out of range"):
            Settings(tmp_path / "data", **{field: -1})
    command = [sys.executable, "-m", "stage", "web", "--data", str(tmp_path / "data"), "--most-gb", "nan"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2 and "--most-gb nan is out of range" in found.stderr
    assert found.stderr.count("\n") == 1 and not (tmp_path / "data").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a niceness belongs to a thread on Linux alone")
def test_what_answers_yields_and_what_plays_does_not(tmp_path, player):
    with Running(tmp_path / "data", player, "--debug") as running:
        usual, server = os.getpriority(os.PRIO_PROCESS, 0), running.process.pid
        with running.client.open("GET", "/api/health") as answer:
            assert answer.headers["x-process"] == str(server)
        assert os.getpriority(os.PRIO_PROCESS, server) == min(19, usual + priority.LOWER)
        session = running.client.begin(bpm=200, bars=1)
        session.add("drums")
        niceness = [child.nice() for child in psutil.Process(server).children()]
        assert len(niceness) >= 2 and set(niceness) == {usual}

        # listeners do not keep the server from ending
        listeners = [session.client.open("GET", f"/api/sessions/{session.id}/events") for _ in range(20)]
        for answer in listeners:
            assert answer.readline().startswith(b"retry")
        session.step("undo")
        running.process.terminate()
        assert running.process.wait(30) in (0, -signal.SIGTERM)
        for answer in listeners:
            answer.close()


@pytest.mark.slow
def test_several_processes_answer_on_one_port(tmp_path, player):
    with Running(tmp_path / "data", player, "--workers", "2", "--debug") as running:
        session = running.client.begin(bpm=200, bars=1)
        assert session.add("drums")["takes"][0]["seed"] == 0 and session.undo().tracks == []

        def answered() -> set[str]:
            for _ in range(20):
                with running.client.open("GET", f"/api/sessions/{session.id}") as answer:
                    names.add(answer.headers["x-process"])
            return names if len(names) == 2 else set()

        names: set[str] = set()
        until(answered)
