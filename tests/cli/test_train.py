"""`stage train`: a training that a signal stops prints how to go on, and nothing else."""

from pathlib import Path

import pytest

from stage.cli import app as cli
from stage.training.embedded import chords, codec, tracker
from stage.training.embedded.loop import Stopped

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize(
    "name, module, recipe",
    [("codec", codec, "embedded-codec"), ("tracker", tracker, "tracker"), ("chords", chords, "chords")],
)
def test_a_stopped_training_prints_the_command(tmp_path, capsys, monkeypatch, name, module, recipe):
    def stopped(*_):
        raise Stopped(7)

    arguments = ["train", name, str(RECIPES / f"{recipe}.yaml"), "--corpus", "a corpus", "--out", str(tmp_path)]
    monkeypatch.setattr(module, "train", stopped)
    monkeypatch.setattr("sys.argv", ["stage", *arguments])
    assert cli.run(arguments) == 130
    printed = capsys.readouterr()
    assert "stopped after step 7, and saved; the same command goes on from there: stage train" in printed.out
    assert "--corpus 'a corpus'" in printed.out and printed.err == ""
