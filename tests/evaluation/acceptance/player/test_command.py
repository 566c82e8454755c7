"""`stage acceptance` with a whole small player of drawn weights."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.fakes import drawn_player, drawn_stage
from helpers.players import write_noted_corpus
from stage.beats.find import Found
from stage.beats.grid import BeatGrid
from stage.cli.app import app
from stage.evaluation.acceptance.player import jobs, takes
from stage.pipeline import Stage

FEW = ["--mixes", "2", "--clicks", "2", "--prompts", "1", "--seconds", "6"]


@pytest.fixture
def corpus(tmp_path):
    return write_noted_corpus(tmp_path / "songs")


@pytest.mark.slow
def test_a_player_gets_its_own_table(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(Stage, "from_pretrained", lambda *_, **__: drawn_player())
    few = {name: jobs.CONTROLS[name] for name in ("complexity", "without", "register")}
    monkeypatch.setattr(jobs, "CONTROLS", few)
    monkeypatch.setattr(jobs, "find", lambda audio, rate: Found(BeatGrid.regular(110, 4, len(audio) / rate)))
    monkeypatch.setattr(takes.musicnn, "embed", lambda audio, rate: np.ones((2, 3)))
    monkeypatch.setattr(takes.scorer, "score", lambda stem, context, rate: float(np.abs(context).mean()))
    shown = CliRunner().invoke(app, ["acceptance", str(corpus), "--out", str(tmp_path / "out"), *FEW])
    assert shown.exit_code == 0, shown.output
    assert "notes in the sounding chord, right context" in (tmp_path / "out" / "results.md").read_text()
    assert "Not measured: human drummers" in shown.output and "training songs" in shown.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    measured = {line["name"] for line in results["lines"] if line["met"] is not None}
    assert {
        "click -> drums, beat F / the true drums'",
        "prompts: kit words",
        "right minus wrong context, onset F",
    } <= measured
    rows = [json.loads(row) for row in (tmp_path / "out" / "clips.jsonl").read_text().splitlines()]
    assert {row["key"].partition("/")[0].split()[0] for row in rows} == {
        *("true", "made", "baselines", "alone", "genre", "chords", "none"),
        *("control", "prompt", "kit", "style", "speed", "stream"),
    }


def test_options_of_a_player_are_refused_for_other_models(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(Stage, "from_pretrained", lambda *_, **__: drawn_stage())
    out = tmp_path / "out"
    shown = CliRunner().invoke(app, ["acceptance", str(corpus), "--out", str(out), "--grooves", "grooves.zip"])
    assert shown.exit_code != 0
    assert "are for models that play events" in str(shown.exception or shown.output)
    assert not out.exists()
