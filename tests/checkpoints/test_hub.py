"""Downloads, by the real `huggingface_hub` from a hub on this machine."""

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.fake_hub import COMMIT, serving
from stage.checkpoints import hub as ours
from stage.errors import StageError

WEIGHTS = random.Random(0).randbytes(60_000)
FILES = {
    "config.json": b'{"model_type": "musicgen"}',
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b"{}",
    "generation_config.json": b"{}",
    "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n# Small\n",
    "pytorch_model.bin": b"pickle",
    "state_dict.bin": WEIGHTS,
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one model; its cache is empty."""
    with serving(monkeypatch, tmp_path / "cache") as made:
        made.repositories["some/small"] = dict(FILES)
        made.licences["some/small"] = "cc-by-nc-4.0"
        yield made


def incomplete(tmp_path):
    return [path for path in (tmp_path / "cache").rglob("*.incomplete")]


def fails(match, name="some/small", revision=None):
    with pytest.raises(StageError, match=match) as caught:
        ours.fetch(name, revision)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- what comes


def test_only_what_is_needed_comes_and_the_second_time_from_the_cache(hub, tmp_path):
    got = ours.fetch("some/small")
    assert got.commit == COMMIT and (got.path / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(p.name for p in got.path.iterdir()) == sorted(f for f in FILES if not f.endswith(".bin"))
    assert hub.got("state_dict.bin") == hub.got("pytorch_model.bin") == []
    again = ours.fetch("some/small")
    assert again == got and hub.got("model.safetensors") == [""] and not incomplete(tmp_path)


def test_a_pinned_revision(hub):
    assert ours.fetch("some/small", "v1").commit == COMMIT
    assert any("/v1" in path for _, path, _ in hub.calls)


def test_licence_of_the_card(hub):
    assert ours.look("some/small").licence == "cc-by-nc-4.0" == ours.licence(ours.fetch("some/small"))
    del hub.licences["some/small"]
    assert ours.look("some/small").licence == ""


@pytest.mark.parametrize(
    "name, fits",
    [("facebook/musicgen-small", True), ("./models/mine", False), ("one", False), ("a/b/c", False), ("../x", False)],
)
def test_names(name, fits):
    assert ours.is_name(name) == fits


def test_the_environment_decides(hub, tmp_path):
    code = "from stage.checkpoints.hub import fetch; print(fetch('some/small').path)"
    settings = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "elsewhere"), "HF_HUB_OFFLINE": "0"}
    settings.pop("HF_HUB_CACHE", None)
    ran = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path / "elsewhere")
    settings |= {"HF_HUB_OFFLINE": "1"}
    calls = len(hub.calls)
    offline = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, timeout=120)
    assert offline.stdout == ran.stdout and len(hub.calls) == calls  # offline, without a request


# ---------------------------------------------------------------- breaks


def test_a_cut_connection_is_gone_on_with(hub, tmp_path):
    hub.cut = [20_000, 10_000]
    assert (ours.fetch("some/small").path / "model.safetensors").read_bytes() == WEIGHTS
    starts = [int(r.removeprefix("bytes=").rstrip("-") or 0) for r in hub.got("model.safetensors")]
    assert len(starts) == 3 and 0 == starts[0] < starts[1] < starts[2] and not incomplete(tmp_path)


def test_a_later_call_goes_on_where_the_last_one_stopped(hub, tmp_path, monkeypatch):
    from huggingface_hub import file_download

    http_get = file_download.http_get

    def stopped(url, out, **options):
        hub.cut = [30_000]

        class Out:
            def write(self, data):
                if out.tell() >= 20_000:
                    raise KeyboardInterrupt
                return out.write(data)

        http_get(url, Out(), **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(file_download, "http_get", stopped)
        ours.fetch("some/small")
    (partial,) = incomplete(tmp_path)
    kept = partial.stat().st_size
    assert 20_000 <= kept < len(WEIGHTS) and partial.read_bytes() == WEIGHTS[:kept]
    hub.calls.clear()
    hub.cut = []
    assert (ours.fetch("some/small").path / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.got("model.safetensors") == [f"bytes={kept}-"] and not incomplete(tmp_path)


def test_what_came_with_errors_is_thrown_away(hub, tmp_path):
    hub.spoil = True
    fails("came with errors.*try again")
    assert not incomplete(tmp_path) and not list((tmp_path / "cache").rglob("model.safetensors"))
    hub.spoil = False
    assert (ours.fetch("some/small").path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_connection_that_breaks_for_good(hub, tmp_path):
    hub.cut = [10_000, *[0] * 40]
    fails("no connection: try again, what was downloaded is kept")
    assert [p.stat().st_size for p in incomplete(tmp_path)] == [10_000]
    assert not list((tmp_path / "cache").rglob("model.safetensors"))  # and what is half there is not taken for whole
    hub.close()
    fails("no connection.*no whole copy")


# ---------------------------------------------------------------- bad input


def test_without_a_network_the_cache_does(hub):
    got = ours.fetch("some/small")
    hub.close()
    assert ours.fetch("some/small") == got
    fails("no connection.*no whole copy", "some/other")


def test_offline(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails("HF_HUB_OFFLINE is set.*no whole copy")
    assert not hub.calls
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    got = ours.fetch("some/small")
    calls = len(hub.calls)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert ours.fetch("some/small") == got and len(hub.calls) == calls
    (got.path / "model.safetensors").unlink()
    fails("HF_HUB_OFFLINE is set.*no whole copy")


def test_gated(hub, tmp_path):
    hub.gated.add("some/small")
    assert "log in" in fails(f"gated: accept its terms at {hub.url}/some/small")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_missing(hub):
    fails("there is no model some/thing on", "some/thing")
    fails("no revision 'v9'", revision="v9")
    fails("not a name on the hub", "a--b/..")


def test_pickles_only(hub):
    hub.repositories["some/small"] = {f: d for f, d in FILES.items() if not f.endswith(".safetensors")}
    fails("no safetensors files, and pickles")
    assert all(path.startswith("/api/") for _, path, _ in hub.calls)


def test_the_hub_is_ill(hub, monkeypatch):
    hub.status = 500
    fails("error 500.*try again later.*no whole copy")


def test_a_shard_that_is_missing(hub):
    hub.repositories["some/small"]["model.safetensors.index.json"] = (
        b'{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
    )
    fails("not whole: model-2.safetensors are missing")


@pytest.mark.parametrize("digest", ["../../x", "/tmp/x", "A" * 64, "a" * 63, "a" * 64 + "/.."])
def test_a_digest_becomes_a_path_only_if_it_is_one(hub, monkeypatch, digest, tmp_path):
    monkeypatch.setattr(hub, "_lfs", lambda data: {"lfs": {"sha256": digest, "size": len(data), "pointerSize": 130}})
    fails("is not a commit, digest or file name")
    assert not list(tmp_path.rglob("*incomplete*"))


@pytest.mark.parametrize("file", ["../x.safetensors", "/x.json", "a/../../x.json", "..\\x.json"])
def test_files_outside_of_the_snapshot_are_refused(hub, file):
    hub.repositories["some/small"] = FILES | {file: b"{}"}
    fails("is not a commit, digest or file name")


def test_shards_outside_of_the_snapshot_are_refused(hub):
    index = b'{"weight_map": {"a": "../../../secret.safetensors"}}'
    hub.repositories["some/small"] = FILES | {"model.safetensors.index.json": index}
    fails("not a file beside it")


@pytest.mark.parametrize("error", [TypeError, ImportError])
def test_other_internals_of_huggingface_hub_only_cost_the_continuation(hub, monkeypatch, error):
    def changed(*_):
        raise error("http_get")

    monkeypatch.setattr(ours, "_continue", changed)
    assert (ours.fetch("some/small").path / "model.safetensors").read_bytes() == WEIGHTS


def test_a_full_disk_is_reported_before_a_download(hub, tmp_path, monkeypatch):
    usage = ours.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(ours.shutil, "disk_usage", lambda place: usage._replace(free=50_000))
    fails("0.0 GB more, and 0.0 GB are free.*set HF_HOME")
    assert not any("/resolve/" in path for _, path, _ in hub.calls)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_fills_up(hub, tmp_path, monkeypatch):
    from huggingface_hub import file_download

    http_get = file_download.http_get

    def full(url, out, **options):
        class Out:
            def write(self, data):
                if out.tell() < 20_000:
                    return out.write(data)
                with open("/dev/full", "wb", buffering=0) as disk:
                    return disk.write(data)  # the system's own ENOSPC

        http_get(url, Out(), **options)

    monkeypatch.setattr(file_download, "http_get", full)
    fails("no room left: make room, or set HF_HOME")
    assert not incomplete(tmp_path) and not list((tmp_path / "cache").rglob("model.safetensors"))


def test_a_small_file_on_a_full_disk(hub, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download._download_to_tmp_and_move", full)
    monkeypatch.setattr(ours, "LARGE", 1e9)
    fails("no room left")


def test_a_cache_that_is_not_ours(hub, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", denied)
    fails("cannot be written into: set HF_HOME")
