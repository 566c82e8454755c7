"""`stage models` and `stage convert` on the command line: quick where nothing is computed."""

import os
import subprocess
import sys

import pytest

SOURCE = """
import sys
from stage.cli.app import run
code = run(sys.argv[1:])
heavy = {"torch", "transformers", "huggingface_hub", "numpy"} & set(sys.modules)
print(code, sorted(heavy), "stage.pipeline" in sys.modules)
"""


@pytest.mark.parametrize(
    "arguments, code",
    [
        ("models", 0),
        ("models --json", 0),
        ("models remove nothing --yes", 2),
        ("models get --help", 0),
        ("convert --help", 0),
    ],
)
def test_no_heavy_package_is_imported(tmp_path, arguments, code):
    done = subprocess.run(
        [sys.executable, "-c", SOURCE, *arguments.split()],
        capture_output=True,
        text=True,
        env=os.environ | {"STAGE_HOME": str(tmp_path)},
    )
    assert done.stdout.splitlines()[-1] == f"{code} [] False", done.stderr


def test_a_damaged_model_is_listed_with_what_is_wrong(tmp_path, monkeypatch, capsys):
    from stage.cli.app import run

    monkeypatch.setenv("STAGE_HOME", str(tmp_path))
    (tmp_path / "models/[red]x").mkdir(parents=True)
    (tmp_path / "models/[red]x/config.json").write_text("{")
    assert run(["models"]) == 0
    shown = capsys.readouterr()
    assert "sketch" in shown.out and "[red]x" in shown.out and "damaged" in shown.out
    assert "[red]x is damaged, remove it and get it again" in shown.err and "not JSON" in shown.err
    assert run(["models", "remove", "[red]x", "--yes"]) == 0
    assert not list((tmp_path / "models").iterdir())
