"""Models from the hub: the real huggingface_hub against a small hub on this machine, through the command line."""

import json
import os
import subprocess
import sys

import pytest
from small_hub import COMMIT, SmallHub

from stage.benchmark.weights import save_musicgen

NAME = "someone/musicgen-tiny"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = save_musicgen(tmp_path_factory.mktemp("repository"))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle, not to be asked for")
    return folder


@pytest.fixture
def hub(repository):
    hubs = []

    def start(**options) -> SmallHub:
        hubs.append(SmallHub(repository, **options))
        return hubs[-1]

    yield start
    for one in hubs:
        one.shutdown()


@pytest.fixture
def stage(tmp_path):
    """The command line in a process of its own, with its own homes. Returns (exit code, stdout, stderr)."""

    def run(*args, hub: SmallHub | None = None, **environment: str) -> tuple[int, str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env |= {"HF_HOME": str(tmp_path / "hf"), "STAGE_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "3"}
        env["HF_ENDPOINT"] = hub.address if hub else "http://127.0.0.1:9"  # nobody listens there
        done = subprocess.run([sys.executable, "-m", "stage.cli", *map(str, args)], capture_output=True, text=True, env=env | environment, timeout=120)
        return done.returncode, done.stdout, done.stderr

    return run


def test_get_list_play_and_remove(hub, stage, tmp_path):
    server = hub()
    code, out, err = stage("models", "get", NAME, "--stem", "drums", hub=server)
    assert code == 2 and "cc-by-nc-4.0" in err and "--accept-licence" in err  # never silently
    code, out, err = stage("models", "get", NAME, "--stem", "drums", "--revision", "v1", "--accept-licence", hub=server)
    assert code == 0 and "musicgen-tiny-drums" in out and "cc-by-nc-4.0" in err, err
    assert not [path for _, path, _ in server.seen if path.endswith(".bin")]  # no pickle was asked for
    code, out, _ = stage("models", "--json")
    models = {model["name"]: model for model in json.loads(out)}
    mine = models["musicgen-tiny-drums"]
    assert mine["stems"] == ["drums"] and mine["precision"] == "float32" and mine["licence"] == "cc-by-nc-4.0"
    assert mine["origin"] == f"{NAME} @ {COMMIT}" and not mine["shipped"] and mine["size"] > mine["parameters"] * 4
    assert models["embedded"]["shipped"] and models["embedded"]["licence"] == "Apache-2.0"
    card = (tmp_path / "home/models/musicgen-tiny-drums/README.md").read_text()
    assert COMMIT in card and "license: cc-by-nc-4.0" in card

    play = ("click", "--bpm", 240, "--bars", 1, "--stem", "drums", "--model", "musicgen-tiny-drums", "-o", tmp_path / "out", "--force")
    code, _, err = stage(*play)
    assert code == 0 and "not for commercial use" in err
    code, _, err = stage(*play)
    assert code == 0 and "commercial" not in err  # told once

    code, _, err = stage("models", "get", NAME, "--stem", "drums", "--accept-licence", hub=server)
    assert code == 2 and "installed already" in err
    assert stage("models", "remove", "musicgen-tiny-drums")[0] == 2  # not without a yes
    assert stage("models", "remove", "embedded", "--yes")[0] == 2
    assert stage("models", "remove", "musicgen-tiny-drums", "--yes")[0] == 0
    assert not (tmp_path / "home/models/musicgen-tiny-drums").exists()


def test_a_cut_download_is_not_taken_for_whole_and_then_works_offline(hub, stage, tmp_path, repository):
    size = (repository / "model.safetensors").stat().st_size
    server = hub(cut=size // 2)
    args = ("convert", NAME, tmp_path / "out")
    code, _, err = stage(*args, hub=server)
    if code:  # newer versions of the library try again by themselves
        assert "goes on where it stopped" in err and len(err.strip().splitlines()[-1]) > 20 and not (tmp_path / "out").exists()
        code, _, err = stage(*args, hub=server)
    assert code == 0, err
    gets = [path for command, path, _ in server.seen if path.endswith("model.safetensors") and command == "GET"]
    assert server.cut == 0 and len(gets) == 2  # the cut one, and one that came through
    code, _, err = stage("convert", NAME, tmp_path / "again", HF_HUB_OFFLINE="1")
    assert code == 0, err
    assert (tmp_path / "again/decoder.safetensors").read_bytes() == (tmp_path / "out/decoder.safetensors").read_bytes()


@pytest.mark.parametrize("name, options, arguments, environment, message", [
    (NAME, None, (), {}, "cannot be reached"),
    (NAME, None, (), {"HF_HUB_OFFLINE": "1"}, "offline mode is on"),
    ("someone/nothing", {}, (), {}, "there is no someone/nothing on the hub"),
    (NAME, {"gated": True}, (), {}, "is gated: accept its licence"),
    (NAME, {}, ("--revision", "v9"), {}, "no revision v9"),
])  # fmt: skip
def test_what_the_hub_refuses_is_told_in_a_line(hub, stage, tmp_path, name, options, arguments, environment, message):
    server = None if options is None else hub(**options)
    code, out, err = stage("convert", name, tmp_path / "out", *arguments, hub=server, **environment)
    lines = [line for line in err.splitlines() if line.startswith("stage:")]
    assert code == 2 and message in lines[0] and len(lines) == 1 and "Traceback" not in err
    assert not (tmp_path / "out").exists() and not list((tmp_path / "hf").rglob("*.safetensors"))


def test_a_full_disk_is_told_before_and_in_the_middle(hub, repository, tmp_path, monkeypatch):
    import errno
    import shutil

    import huggingface_hub
    from huggingface_hub import constants

    from stage.checkpoints import hub as module
    from stage.errors import StageError

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "look", lambda name, revision: ("mit", 10**9))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: type("Usage", (), {"free": 10**8})())
    with pytest.raises(StageError, match="takes 1.0 GB, and 0.1 GB are free"):
        module.fetch(NAME)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "disk_usage", lambda place: type("Usage", (), {"free": 10**10})())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(StageError, match="disk is full.*goes on where it stopped"):
        module.fetch(NAME)
