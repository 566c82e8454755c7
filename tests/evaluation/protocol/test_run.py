"""The paper's protocols from songs to page, with a band that plays from the truth in place of a model."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.miniatures import band
from stage.audio.files import read, write
from stage.cli import app as cli
from stage.errors import StageError
from stage.evaluation.protocol import report
from stage.evaluation.protocol import run as protocol
from stage.evaluation.protocol.clips import Plan, clips
from stage.evaluation.protocol.models import Models
from stage.evaluation.protocol.run import export_contexts, run
from stage.evaluation.protocol.task import Task

PLAN = Plan(("drums",), songs=3, passes=2, clicks=3, seconds=6.0, controls=2)


class Known(Models):
    """Plays the true stem where there is one, and clicks to clicks; noise without context. Counts what it makes."""

    made: list = []

    def play(self, condition, clip):
        self.made.append((condition, clip.id))
        if condition == "no context":
            return 0.1 * np.random.default_rng(clip.number).standard_normal(6 * 32000).astype(np.float32), 32000
        return (clip.target(32000) if clip.song else clip.context(32000)), 32000


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "Models", Known)
    monkeypatch.setattr(Known, "made", [])
    return Task((str(band(tmp_path / "band", songs=4)),), PLAN, {"model": "known"})


def test_clips_are_the_papers(task):
    made = clips(task.songs(), PLAN)
    assert [clip.kind for clip in made].count("mix") == 6 and [clip.bpm for clip in made if clip.kind == "click"] == [
        100,
        101,
        102,
    ]
    assert [(a.id, a.start, a.first, a.partner) for a in made] == [
        (b.id, b.start, b.first, b.partner) for b in clips(task.songs(), PLAN)
    ]
    assert {clip.song.id for clip in made if clip.song} == {
        f"Artist {i} - Song {i}" for i in (1, 2, 3)
    }  # the last by id are held out
    by_id = {clip.id: clip for clip in made}
    for clip in made:
        partner = by_id[clip.partner]
        assert partner.kind == clip.kind and (clip.song is None or partner.song.id != clip.song.id)
        assert clip.context(16000).shape == (96000,) and 0 <= clip.first < 0.3
    assert by_id["mix-drums-0-000"].text == "Genres: rock. Moods: calm."


def test_what_is_right_scores_and_what_is_wrong_does_not(task, tmp_path):
    made, rows = run(task, tmp_path / "out")
    lines = {(line["kind"], line["condition"]): line for line in report.summary(rows)}
    assert set(lines) == {
        (kind, name)
        for kind in ("mix", "click")
        for name in ("model", "no context", "wrong context", "no text", "true")
    } - {("click", "no text"), ("click", "true")}
    mix = {name: line["figures"] for (kind, name), line in lines.items() if kind == "mix"}
    assert (
        mix["model"]["f_measure"][0] == pytest.approx(mix["true"]["f_measure"][0], abs=0.05)
        and mix["true"]["f_measure"][0] > 0.8
    )
    assert mix["wrong context"]["f_measure"][0] < mix["true"]["f_measure"][0] - 0.2
    assert lines["mix", "no context"]["clips"] == 2 and lines["mix", "model"]["clips"] == 6
    assert "coherence ours" in mix["true"] and rows[0]["tracker"] == "BeatNet"
    assert len(list((tmp_path / "out" / "audio" / "model").glob("*.flac"))) == 9


def test_it_goes_on_where_it_was_cut_off(task, tmp_path):
    out = tmp_path / "out"
    _, rows = run(task, out)
    text = (out / "clips.jsonl").read_text()
    lines = text.splitlines(keepends=True)
    (out / "clips.jsonl").write_text("".join(lines[:5]) + lines[5][:20])
    count = len(Known.made)
    shutil.rmtree(out / "audio" / "no-text")
    _, again = run(task, out)
    assert again == rows and len(Known.made) == count + 2  # what was kept is measured again, not made again
    with pytest.raises(StageError, match="plan"):
        run(Task(task.data, Plan(("drums",), songs=2, passes=1, clicks=0), task.models), out)


def test_stems_of_another_system_stand_in_the_same_table(task, tmp_path):
    contexts = tmp_path / "contexts"
    assert export_contexts(task, contexts) == 9
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for clip in json.loads((contexts / "clips.json").read_text())[:4]:
        audio, rate = read(contexts / f"{clip['id']}.wav")
        write(theirs / f"{clip['id']}.wav", audio, rate)
    from dataclasses import replace

    _, rows = run(replace(task, systems={"theirs": str(theirs)}), tmp_path / "out")
    assert sum(row["condition"] == "theirs" for row in rows) == 4
    (tmp_path / "none").mkdir()
    with pytest.raises(StageError, match="mix-drums-0-000.wav"):
        run(replace(task, systems={"none": str(tmp_path / "none")}), tmp_path / "other")


def test_the_command_writes_tables_and_a_page(task, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [
        "evaluate",
        "known",
        "--data",
        task.data[0],
        "--stem",
        "drums",
        "--songs",
        "3",
        "--passes",
        "2",
        "--clicks",
        "2",
        "--seconds",
        "6",
        "--controls",
        "1",
        "--embedding",
        "musicnn",
        "-o",
        str(out),
    ]
    assert cli.run(arguments) == 0
    said = capsys.readouterr().out
    assert "| true | 6 |" in said and "wrong context" in said and "BeatNet" in said
    results = json.loads((out / "results.json").read_text())
    assert results["about"]["tracker"] == "BeatNet" and {line["embedding"] for line in results["quality"]} == {
        "musicnn"
    }
    table = list(csv.DictReader((out / "results.csv").open()))
    assert {row["figure"] for row in table} >= {
        "f_measure",
        "cmlt",
        "amlt",
        "emd",
        "fad musicnn",
        "kad musicnn",
        "coherence ours",
    }
    tex = (out / "results.tex").read_text()
    assert tex.startswith(r"\begin{tabular}") and tex.count(r"\\") == 1 + len(results["summary"])
    page = (out / "report.html").read_text()
    assert (
        page.count("<section>") == 8
        and "http" not in page.replace("http://www.w3.org", "")
        and page.count("<audio") > 16
    )


def test_wrong_input_is_one_line(task, tmp_path, capsys):
    wrong = {
        ("--system", "theirs"): "NAME=",
        ("--baseline", "true=sketch"): "another name",
        ("--stem", "kazoo"): "kazoo",
        ("--embedding", "vgish"): "choose musicnn",
    }
    for extra, message in wrong.items():
        assert (
            cli.run(
                [
                    "evaluate",
                    "sketch",
                    "--data",
                    task.data[0],
                    "-o",
                    str(tmp_path / "o"),
                    "--clicks",
                    "0",
                    "--stem",
                    "drums",
                    *extra,
                ]
            )
            == 2
        )
        assert message in capsys.readouterr().err


def test_a_stem_that_a_model_does_not_play_is_an_error(tmp_path):
    player = Models(Task((), PLAN, {"model": "x"}))
    player.loaded["model"] = SimpleNamespace(stems=("bass",), codec=SimpleNamespace(sample_rate=16000))
    clip = SimpleNamespace(stem="drums", kind="mix", number=0, text="", seconds=6.0)
    with pytest.raises(StageError, match='plays no "drums": it plays bass'):
        player.play("model", clip)
