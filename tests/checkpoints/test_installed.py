"""The shelf of models: what is listed, what comes onto it and leaves it, and when a licence is told."""

import json

import pytest

from helpers.fake_hub import COMMIT, serving
from helpers.fakes import drawn_stage
from stage import Stage, StageError
from stage.checkpoints import installed as shelf
from stage.checkpoints import licences, paths
from stage.config import StageConfig
from stage.testing.weights import save_musicgen

ORIGIN = f" @ {COMMIT}"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STAGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def hub(tmp_path, home, monkeypatch):
    """A hub with a STAGE model under a free licence."""
    with serving(monkeypatch, tmp_path / "cache") as made:
        publish(made, "some/drawn", drawn(tmp_path / "drawn"), "apache-2.0")
        yield made


@pytest.fixture(scope="module")
def musicgen(tmp_path_factory):
    return save_musicgen(tmp_path_factory.mktemp("hub") / "musicgen-tiny")


def drawn(folder):
    drawn_stage().save_pretrained(folder)
    return folder


def publish(hub, name, folder, licence):
    hub.repositories[name] = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    hub.repositories[name]["README.md"] = f"---\nlicense: {licence}\n---\n".encode()
    hub.licences[name] = licence


def names():
    return [model.name for model in shelf.installed()]


def left(home):
    return sorted(path.name for path in (home / "models").iterdir()) if (home / "models").exists() else []


# ---------------------------------------------------------------- what is listed


def test_the_models_of_the_package_are_listed(home):
    (embedded,) = shelf.installed()
    assert embedded.name == "embedded" and embedded.shipped and embedded.stems == ("drums", "bass")
    assert embedded.precision == "float16" and embedded.licence == "Apache-2.0"
    stage = Stage.from_pretrained("embedded", device="cpu", precision="float32")
    assert embedded.parameters == sum(t.numel() for t in stage.decoder.state_dict().values())
    assert embedded.size == sum(file.stat().st_size for file in embedded.path.iterdir())


def test_a_damaged_model_is_listed_as_such(home):
    for name in ("whole", "cut", "unreadable"):
        drawn(home / "models" / name)
    weights = home / "models/cut/decoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    (home / "models/unreadable/config.json").write_text("{")
    (home / "models/.whole-half").mkdir()
    (home / "models/.whole-half/config.json").write_text("{}")  # of a conversion that was killed
    assert {m.name: m.precision for m in shelf.installed()} == {
        "embedded": "float16",
        "whole": "float32",
        "cut": "damaged",
        "unreadable": "damaged",
    }


# ---------------------------------------------------------------- get


def test_a_stage_model_of_the_hub_is_installed_and_plays(hub, home):
    made = shelf.get("some/drawn")
    assert (made.name, made.licence, made.origin) == ("drawn", "Apache-2.0", "some/drawn" + ORIGIN) and not made.shipped
    assert names() == ["embedded", "drawn"] and not any(path.is_symlink() for path in made.path.rglob("*"))
    assert Stage.from_pretrained(made.path, device="cpu").stems == ("drums", "bass")
    with pytest.raises(StageError, match="as it is: leave --stem"):
        shelf.get("some/drawn", ["drums"])


def test_musicgen_becomes_a_base_once_its_licence_is_accepted(hub, home, musicgen):
    publish(hub, "some/tiny", musicgen, "cc-by-nc-4.0")
    asked = []
    with pytest.raises(
        StageError, match="CC-BY-NC-4.0 .attribution, and no commercial use.. If you accept that, add --accept-licence"
    ):
        shelf.get("some/tiny", ["drums"], agree=lambda licence: asked.append(licence) or False)
    assert asked == ["CC-BY-NC-4.0"] and left(home) == [] and not hub.got("model.safetensors")
    shares = []
    made = shelf.get("some/tiny", ["drums"], agree=lambda licence: True, on_share=shares.append)
    assert (made.name, made.stems, made.licence, made.origin) == (
        "tiny-drums",
        ("drums",),
        "CC-BY-NC-4.0",
        "some/tiny" + ORIGIN,
    )
    assert shares[-1] == 1 and "CC-BY-NC-4.0" in (made.path / "README.md").read_text()
    assert made.parameters == sum(
        t.numel() for t in Stage.from_pretrained(made.path, device="cpu").decoder.state_dict().values()
    )
    assert shelf.get("some/tiny", ["drums", "bass"], own="both", agree=lambda licence: True).stems == ("drums", "bass")
    assert names() == ["embedded", "both", "tiny-drums"]


def test_without_a_network_the_card_in_the_cache_tells_the_licence(hub, home, musicgen):
    publish(hub, "some/tiny", musicgen, "cc-by-nc-4.0")
    shelf.get("some/tiny", agree=lambda licence: True)
    shelf.remove("tiny")
    hub.close()
    with pytest.raises(StageError, match="CC-BY-NC-4.0"):
        shelf.get("some/tiny")
    assert shelf.get("some/tiny", agree=lambda licence: True).licence == "CC-BY-NC-4.0"


@pytest.mark.parametrize(
    "name, own, said",
    [
        ("some/drawn", "embedded", "a model of the package"),
        ("some/drawn", "../x", "cannot be a model's name"),
        ("some/drawn", "a/b", "cannot be"),
        ("some/embedded", "", "a model of the package"),
        ("drawn", "", "not a name on the hub"),
        ("some/nothing", "", "no model some/nothing"),
    ],
)
def test_names_that_do_not_do(hub, home, name, own, said):
    with pytest.raises(StageError, match=said):
        shelf.get(name, own=own)
    assert left(home) == []


def test_nothing_is_overwritten(hub, home):
    made = shelf.get("some/drawn")
    before = made.path.stat().st_mtime_ns
    with pytest.raises(StageError, match="installed already.*stage models remove drawn"):
        shelf.get("some/drawn")
    assert made.path.stat().st_mtime_ns == before


def test_nothing_half_made_is_left(hub, home, monkeypatch, musicgen):
    hub.repositories["some/drawn"]["decoder.safetensors"] = hub.repositories["some/drawn"]["decoder.safetensors"][:-10]
    with pytest.raises(StageError, match="not a whole STAGE model"):
        shelf.get("some/drawn")
    assert left(home) == []
    publish(hub, "some/tiny", musicgen, "cc-by-nc-4.0")

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shelf.get("some/tiny", agree=lambda licence: True, on_share=stop)
    assert left(home) == []


def test_no_room_to_install(hub, home, monkeypatch):
    home.mkdir()
    usage = shelf.shutil.disk_usage(home)
    monkeypatch.setattr(shelf.shutil, "disk_usage", lambda place: usage._replace(free=10) if place == home else usage)
    with pytest.raises(StageError, match="make room, or set STAGE_HOME"):
        shelf.get("some/drawn")
    assert left(home) == []


# ---------------------------------------------------------------- remove


def test_remove(hub, home):
    path = shelf.get("some/drawn").path
    assert shelf.remove("drawn") == path and left(home) == [] and names() == ["embedded"]
    for name, said in {
        "embedded": "belongs to the package",
        "drawn": "is not installed",
        "../home": "is not installed",
        "": "is not installed",
    }.items():
        with pytest.raises(StageError, match=said):
            shelf.remove(name)
    assert paths.SHIPPED.joinpath("embedded/config.json").is_file()


def test_a_linked_model_is_only_unlinked(tmp_path, home):
    folder = drawn(tmp_path / "mine")
    (home / "models").mkdir(parents=True)
    (home / "models/linked").symlink_to(folder)
    assert names() == ["embedded", "linked"]
    shelf.remove("linked")
    assert names() == ["embedded"] and (folder / "config.json").is_file()


# ---------------------------------------------------------------- licences


@pytest.mark.parametrize(
    "licence, free",
    [
        ("Apache-2.0", True),
        ("apache-2.0", True),
        ("MIT", True),
        ("cc-by-4.0", True),
        ("CC0-1.0", True),
        ("", False),
        ("other", False),
        ("CC-BY-NC-4.0", False),
        ("cc-by-sa-4.0", False),
        ("mit, cc-by-nc-4.0", False),
        ("openrail", False),
    ],
)
def test_free_licences(licence, free):
    assert licences.is_free(licence) == free


def test_a_licence_is_told_once(home):
    config = StageConfig(name="base", licence="CC-BY-NC-4.0")
    assert "base are under CC-BY-NC-4.0 (attribution, and no commercial use)" in licences.notice("models/base", config)
    assert licences.notice("models/base", config) is None
    assert licences.notice("other", StageConfig(name="other", licence="CC-BY-NC-4.0")) is not None
    assert (
        licences.notice("embedded", StageConfig(licence="Apache-2.0")) is None
        and licences.notice("mine", StageConfig()) is None
    )


def test_a_home_that_cannot_be_written_into_is_no_hindrance(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STAGE_HOME", str(tmp_path / "file"))
    config = StageConfig(name="base", licence="CC-BY-NC-4.0")
    assert licences.notice("base", config) and licences.notice("base", config)


def test_what_is_listed_can_be_written_as_json(hub, home):
    import dataclasses

    shelf.get("some/drawn")
    told = [dataclasses.asdict(model) | {"path": str(model.path)} for model in shelf.installed()]
    assert [model["name"] for model in json.loads(json.dumps(told))] == ["embedded", "drawn"]
