"""The card of a model names the commit of STAGE's own code, or none."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from stage.training.finetune import export
from stage.training.finetune.recipe import read

GIT = ["git", "-c", "user.email=a@b", "-c", "user.name=x"]
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def repository(folder: Path) -> str:
    """A new repository with all that is in a folder; returns its commit."""
    for arguments in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "--allow-empty", "-m", "mine"]):
        subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def put(place: Path) -> Path:
    """This module alone, at a place where a package may be."""
    (place / "training" / "finetune").mkdir(parents=True)
    shutil.copy(export.__file__, place / "training" / "finetune" / "export.py")
    return place


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, tuple[Path, str]]:
    root, made = tmp_path_factory.mktemp("git"), {}
    own = put(root / "own" / "src" / "stage")
    made["own"] = (own, repository(root / "own"))
    user = put(root / "user" / "venv" / "site-packages" / "stage")
    (root / "user" / ".gitignore").write_text("venv\n", encoding="utf-8")
    subprocess.run([*GIT, "init", "-q"], cwd=root / "user", check=True)
    subprocess.run([*GIT, "commit", "-q", "--allow-empty", "-m", "x"], cwd=root / "user", check=True)
    made["user"] = (user, "")
    kept = put(root / "kept" / "venv" / "stage")
    made["kept"] = (kept, repository(root / "kept"))
    made["none"] = (put(root / "none" / "src" / "stage"), "")
    return made


def commit(root: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The commit for a package at a place."""
    monkeypatch.setattr(export, "__file__", str(root / "training" / "finetune" / "export.py"))
    return export.commit()


def test_the_commit_is_that_of_stage(places, monkeypatch):
    place, head = places["own"]
    monkeypatch.setenv("GIT_DIR", str(places["user"][0].parents[2] / ".git"))  # as in a hook
    assert commit(place, monkeypatch) == head
    with open(place / "training" / "finetune" / "export.py", "a") as file:
        file.write("# changed")
    assert commit(place, monkeypatch) == head + "+"


@pytest.mark.parametrize("where", ["user", "kept", "none"])
def test_the_commit_of_another_repository_is_not_taken(places, where, monkeypatch):
    assert commit(places[where][0], monkeypatch) is None


def test_runs_of_one_name_have_identities_of_their_own(tmp_path):
    fabric = SimpleNamespace(device=SimpleNamespace(type="cpu"), world_size=1)
    recipe = read(Path(__file__).parents[3] / "recipes" / "tiny.yaml")

    def begin(run: Path) -> dict:
        return export.begin(run, recipe, "base", (["a"], []), 0, fabric)

    one, other = begin(tmp_path / "a" / "drums"), begin(tmp_path / "b" / "drums")
    assert one["id"] != other["id"] and begin(tmp_path / "a" / "drums")["id"] == one["id"]
    for text, identity in (('{"starts": [{"step": 0}]}', "old"), ("{", None), ("[]", None)):
        run = tmp_path / "old"
        (run).mkdir(exist_ok=True)
        (run / "run.json").write_text(text, encoding="utf-8")
        found = begin(run)["id"]
        assert found == identity if identity else len(found) == 16
