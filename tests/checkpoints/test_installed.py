"""Models at hand: listed, found, installed and removed; and the notice on their licences."""

import json
import os

import pytest

from helpers.fake_hub import COMMIT, serving
from helpers.fakes import drawn_stage
from stage import Stage, StageError
from stage.checkpoints import installed, licences, paths
from stage.config import StageConfig
from stage.files import lock
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
    return [model.name for model in installed.installed()]


def left(home):
    return sorted(path.name for path in (home / "models").iterdir()) if (home / "models").exists() else []


# ---------------------------------------------------------------- what is listed


def test_the_models_of_the_package_are_listed(home):
    player, sketch = installed.installed()
    assert player.name == "player" and player.shipped and player.stems == ("drums", "bass", "keys", "guitar", "pads")
    assert sketch.name == "sketch" and sketch.shipped and sketch.stems == ("drums", "bass")
    assert sketch.precision == "float16" and sketch.licence == "Apache-2.0"
    stage = Stage.from_pretrained("sketch", device="cpu", precision="float32")
    assert sketch.parameters == sum(t.numel() for t in stage.decoder.state_dict().values())
    assert sketch.size == sum(file.stat().st_size for file in sketch.path.iterdir())


def test_a_damaged_model_is_listed_as_such(home):
    for name in ("whole", "cut", "unreadable"):
        drawn(home / "models" / name)
    weights = home / "models/cut/decoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    (home / "models/unreadable/config.json").write_text("{")
    (home / "models/.whole-half").mkdir()
    (home / "models/.whole-half/config.json").write_text("{}")  # of a conversion that was killed
    assert {m.name: m.precision for m in installed.installed()} == {
        "player": "float16",
        "sketch": "float16",
        "whole": "float32",
        "cut": "damaged",
        "unreadable": "damaged",
    }


@pytest.mark.parametrize("start", [b"\xff" * 8, b"\x00\x00\x00\x00\x00\x00\x00\x40", b""])
def test_a_header_without_end_hides_no_other_model(home, start):
    drawn(home / "models/whole")
    (home / "models/bad").mkdir()
    (home / "models/bad/decoder.safetensors").write_bytes(start)
    (home / "models/bad/config.json").write_bytes((home / "models/whole/config.json").read_bytes())
    (home / "models/empty").mkdir()
    listed = {model.name: model for model in installed.installed()}
    assert list(listed) == ["player", "sketch", "bad", "empty", "whole"] and listed["whole"].precision == "float32"
    assert listed["bad"].precision == "damaged" and "not a whole safetensors file" in listed["bad"].problem
    assert "config.json is missing" in listed["empty"].problem
    assert installed.remove("empty") == home / "models/empty" and installed.remove("bad")
    assert left(home) == ["whole"]


# ---------------------------------------------------------------- find


def described(folder, origin):
    """A model of which only the settings are there."""
    folder.mkdir(parents=True)
    config = json.loads((paths.SHIPPED / "sketch/config.json").read_text())
    config["stage"]["origin"] = origin
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "decoder.safetensors").write_bytes((paths.SHIPPED / "sketch/decoder.safetensors").read_bytes())


def test_models_are_found_by_name_path_and_the_name_on_the_hub(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    described(home / "models/musicgen-small-drums", "facebook/musicgen-small" + ORIGIN)
    assert installed.find("musicgen-small-drums") == home / "models/musicgen-small-drums"
    assert installed.find("facebook/musicgen-small") == home / "models/musicgen-small-drums"
    assert installed.find(str(home / "models/musicgen-small-drums")) == home / "models/musicgen-small-drums"
    assert installed.find("sketch") == paths.SHIPPED / "sketch"
    described(home / "models/musicgen-small-bass", "facebook/musicgen-small" + ORIGIN)
    for name, message in {
        "facebook/musicgen-small": "choose one of musicgen-small-bass, musicgen-small-drums",
        "facebook/musicgen-medium": "get it first: stage models get facebook/musicgen-medium",
        "musicgen-small": ": did you mean musicgen-small-bass or musicgen-small-drums",
        "sketsh": "did you mean sketch",
        "x" * 5000: "no model 'xxx",
        "a\0b": "no model",
        str(tmp_path): "not a STAGE model",
    }.items():
        with pytest.raises(StageError, match=message) as error:
            installed.find(name)
        assert "\n" not in str(error.value)


# ---------------------------------------------------------------- get


def test_a_stage_model_of_the_hub_is_installed_and_plays(hub, home):
    made = installed.get("some/drawn")
    assert (made.name, made.licence, made.origin) == ("drawn", "Apache-2.0", "some/drawn" + ORIGIN) and not made.shipped
    assert names() == ["player", "sketch", "drawn"] and not any(path.is_symlink() for path in made.path.rglob("*"))
    assert Stage.from_pretrained(made.path, device="cpu").stems == ("drums", "bass")
    with pytest.raises(StageError, match="as it is: leave --stem"):
        installed.get("some/drawn", ["drums"])


def test_musicgen_becomes_a_base_once_its_licence_is_accepted(hub, home, musicgen):
    publish(hub, "some/tiny", musicgen, "cc-by-nc-4.0")
    asked = []
    with pytest.raises(
        StageError, match="CC-BY-NC-4.0 .attribution, and no commercial use.. If you accept that, add --accept-licence"
    ):
        installed.get("some/tiny", ["drums"], agree=lambda licence: asked.append(licence) or False)
    assert asked == ["CC-BY-NC-4.0"] and left(home) == [] and not hub.got("model.safetensors")
    shares = []
    made = installed.get("some/tiny", ["drums"], agree=lambda licence: True, on_share=shares.append)
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
    assert installed.get("some/tiny", ["drums", "bass"], own="both", agree=lambda licence: True).stems == (
        "drums",
        "bass",
    )
    assert names() == ["player", "sketch", "both", "tiny-drums"]


def test_without_a_network_the_licence_is_that_of_the_card_in_the_cache(hub, home, musicgen):
    publish(hub, "some/tiny", musicgen, "cc-by-nc-4.0")
    installed.get("some/tiny", agree=lambda licence: True)
    installed.remove("tiny")
    hub.close()
    with pytest.raises(StageError, match="CC-BY-NC-4.0"):
        installed.get("some/tiny")
    assert installed.get("some/tiny", agree=lambda licence: True).licence == "CC-BY-NC-4.0"


@pytest.mark.parametrize(
    "name, own, said",
    [
        ("some/drawn", "sketch", "a model of the package"),
        ("some/drawn", "../x", "cannot be a model's name"),
        ("some/drawn", "a/b", "cannot be"),
        ("some/sketch", "", "a model of the package"),
        ("drawn", "", "not a name on the hub"),
        ("some/nothing", "", "no model some/nothing"),
    ],
)
def test_names_that_do_not_do(hub, home, name, own, said):
    with pytest.raises(StageError, match=said):
        installed.get(name, own=own)
    assert left(home) == []


def test_nothing_is_overwritten(hub, home):
    made = installed.get("some/drawn")
    before = made.path.stat().st_mtime_ns
    with pytest.raises(StageError, match="installed already.*stage models remove drawn"):
        installed.get("some/drawn")
    assert made.path.stat().st_mtime_ns == before


def test_nothing_half_made_is_left(hub, home, monkeypatch, musicgen):
    hub.repositories["some/drawn"]["decoder.safetensors"] = hub.repositories["some/drawn"]["decoder.safetensors"][:-10]
    with pytest.raises(StageError, match="not a whole STAGE model"):
        installed.get("some/drawn")
    assert left(home) == []
    publish(hub, "some/tiny", musicgen, "cc-by-nc-4.0")

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        installed.get("some/tiny", agree=lambda licence: True, on_share=stop)
    assert left(home) == []


def test_no_room_to_install(hub, home, monkeypatch):
    home.mkdir()
    usage = installed.shutil.disk_usage(home)
    monkeypatch.setattr(
        installed.shutil, "disk_usage", lambda place: usage._replace(free=10) if place == home else usage
    )
    with pytest.raises(StageError, match="make room, or set STAGE_HOME"):
        installed.get("some/drawn")
    assert left(home) == []


def test_one_installation_of_a_model_at_a_time(hub, home):
    with lock(home / "locks/drawn"), pytest.raises(StageError, match="in use by another installation of that model"):
        installed.get("some/drawn")
    assert installed.get("some/drawn").name == "drawn"


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_permissions_are_what_the_umask_leaves(hub, home, umask):
    (before := os.umask(umask), made := installed.get("some/drawn"), os.umask(before))
    modes = {path.stat().st_mode & 0o777 for path in made.path.rglob("*") if path.is_file()}
    assert modes == {0o666 & ~umask} and made.path.stat().st_mode & 0o777 == 0o777 & ~umask


# ---------------------------------------------------------------- remove


def test_an_interrupted_removal_is_finished_by_the_next(home):
    drawn(home / "models/x")
    for name in (".x-removed", ".other-removed"):  # as earlier versions left them
        (home / "models" / name).mkdir()
        (home / "models" / name / "rest").write_text("")
    assert installed.remove("x") == home / "models/x" and left(home) == []


def test_remove(hub, home):
    path = installed.get("some/drawn").path
    assert installed.remove("drawn") == path and left(home) == [] and names() == ["player", "sketch"]
    for name, said in {
        "sketch": "belongs to the package",
        "drawn": "is not installed",
        "../home": "is not installed",
        "": "is not installed",
    }.items():
        with pytest.raises(StageError, match=said):
            installed.remove(name)
    assert paths.SHIPPED.joinpath("sketch/config.json").is_file()


def test_a_linked_model_is_only_unlinked(tmp_path, home):
    folder = drawn(tmp_path / "mine")
    (home / "models").mkdir(parents=True)
    (home / "models/linked").symlink_to(folder)
    assert names() == ["player", "sketch", "linked"]
    installed.remove("linked")
    assert names() == ["player", "sketch"] and (folder / "config.json").is_file()


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


def test_the_notice_on_a_licence_comes_once(home):
    config = StageConfig(name="base", licence="CC-BY-NC-4.0")
    assert "base are under CC-BY-NC-4.0 (attribution, and no commercial use)" in licences.notice("models/base", config)
    assert licences.notice("models/base", config) is None
    assert licences.notice("other", StageConfig(name="other", licence="CC-BY-NC-4.0")) is not None
    assert (
        licences.notice("sketch", StageConfig(licence="Apache-2.0")) is None
        and licences.notice("mine", StageConfig()) is None
    )


def test_a_home_that_cannot_be_written_into_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STAGE_HOME", str(tmp_path / "file"))
    config = StageConfig(name="base", licence="CC-BY-NC-4.0")
    assert licences.notice("base", config) and licences.notice("base", config)


def test_what_is_listed_can_be_written_as_json(hub, home):
    import dataclasses

    installed.get("some/drawn")
    listed = [dataclasses.asdict(model) | {"path": str(model.path)} for model in installed.installed()]
    assert [model["name"] for model in json.loads(json.dumps(listed))] == ["player", "sketch", "drawn"]
