"""What is said before a server starts."""

import json
import socket

import pytest

from stage import files
from stage.errors import StageError
from stage.web.serve import SETTINGS, replica, serve
from stage.web.settings import Settings


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
