"""A folder of results belongs to weights, stems and songs, whatever their paths and names are."""

import json
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from helpers.miniatures import band
from stage.audio.files import read, write
from stage.cli import app as cli
from stage.errors import StageError
from stage.evaluation.protocol import quality, report
from stage.evaluation.protocol import run as protocol
from stage.evaluation.protocol.clips import Clip, Plan, _with_partners, clips
from stage.evaluation.protocol.models import Models
from stage.evaluation.protocol.run import _claim, export_contexts, run
from stage.evaluation.protocol.task import Task, audio_path, check_names
from stage.files import lock

PLAN = Plan(("drums",), songs=2, passes=0, clicks=2, seconds=3.0, controls=1)


def model(path, weights: str) -> str:
    """A folder that is found as a model."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text("{}")
    (path / "decoder.safetensors").write_text(weights)
    return str(path)


def task(**models: str) -> Task:
    return Task(("songs",), PLAN, models)


def test_a_baseline_that_was_not_named_in_between_is_not_forgotten(tmp_path):
    out, own, x, y = tmp_path / "out", *(model(tmp_path / name, name) for name in ("own", "x", "y"))
    _claim(out, task(model=own, a=x), [])
    _claim(out, task(model=own), [])
    with pytest.raises(StageError, match='another model as "a"'):
        _claim(out, task(model=own, a=y), [])
    _claim(out, task(model=own, a=x, b=y), [])
    known = json.loads((out / "run.json").read_text())
    assert known["task"]["models"] == {"model": own, "a": x, "b": y} and known["command"] == "evaluate"


def test_other_weights_at_the_same_path_are_another_model(tmp_path):
    out, own = tmp_path / "out", model(tmp_path / "own", "step 100")
    _claim(out, task(model=own), [])
    (tmp_path / "moved").mkdir()
    _claim(out, task(model=model(tmp_path / "moved", "step 100")), [])  # the same weights elsewhere
    (tmp_path / "own" / "README.md").write_text("a card")
    _claim(out, task(model=own), [])
    model(tmp_path / "own", "step 200")
    with pytest.raises(StageError, match="another model"):
        _claim(out, task(model=own), [])


def test_a_model_that_is_gone_keeps_its_results(tmp_path):
    out, own = tmp_path / "out", model(tmp_path / "own", "1")
    _claim(out, task(model=own), [])
    (tmp_path / "own" / "config.json").unlink()
    _claim(out, task(model=own), [])
    with pytest.raises(StageError, match="another model"):
        _claim(out, task(model="elsewhere"), [])
    model(tmp_path / "own", "2")
    with pytest.raises(StageError, match="another model"):
        _claim(out, task(model=own), [])


def test_an_adapter_is_part_of_the_model(tmp_path):
    out, own, adapter = tmp_path / "out", model(tmp_path / "own", "1"), tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter.json").write_text("{}")
    (adapter / "adapter.safetensors").write_text("1")
    adapted = replace(task(model=own), adapters=(str(adapter),))
    _claim(out, adapted, [])
    _claim(out, adapted, [])
    (adapter / "adapter.safetensors").write_text("2")
    with pytest.raises(StageError, match="another model"):
        _claim(out, adapted, [])


def test_stems_of_a_system_may_be_added_and_not_replaced(tmp_path):
    made = _with_partners([Clip(f"click-drums-{i}", "click", "drums", i, 3.0, bpm=100.0 + i) for i in range(3)])
    out, folder, silence = tmp_path / "out", tmp_path / "theirs", np.zeros((1, 3000), np.float32)
    own = replace(task(model=model(tmp_path / "own", "1")), systems={"theirs": str(folder)})
    write(folder / f"{made[0].id}.wav", silence, 1000)
    _claim(out, own, made)
    write(folder / f"{made[1].id}.wav", silence, 1000)
    _claim(out, own, made)
    _claim(out, replace(own, systems={}), made)
    write(folder / f"{made[1].id}.wav", silence + 0.1, 1000, force=True)
    with pytest.raises(StageError, match='another set of stems as "theirs"'):
        _claim(out, own, made)


def test_songs_that_have_changed_are_noticed(tmp_path):
    plan = replace(PLAN, passes=1, clicks=0)
    own = Task((str(band(tmp_path / "band", songs=3, seconds=6.0)),), plan, {"model": model(tmp_path / "own", "1")})
    _claim(tmp_path / "out", own, clips(own.songs(), plan))
    _claim(tmp_path / "out", own, clips(own.songs(), plan))
    song = tmp_path / "band" / "Artist 2" / "Song 2"
    before = (song / "beats.txt").read_text()
    (song / "beats.txt").write_text("".join(f"{0.5 * i + 0.1:.3f} {i % 4 + 1}\n" for i in range(12)))
    with pytest.raises(StageError, match="another version of the songs"):
        _claim(tmp_path / "out", own, clips(own.songs(), plan))
    (song / "beats.txt").write_text(before)
    _claim(tmp_path / "out", own, clips(own.songs(), plan))
    audio, rate = soundfile.read(song / "keys.wav", dtype="float32")
    soundfile.write(song / "keys.wav", 0.5 * audio, rate, subtype="FLOAT")
    with pytest.raises(StageError, match="another version of the songs"):
        _claim(tmp_path / "out", own, clips(own.songs(), plan))


def test_folders_of_other_commands_and_earlier_versions_are_refused_in_a_line(tmp_path):
    own = task(model=model(tmp_path / "own", "1"))
    for text, message in (
        ('{"model": "x"}', "choose another --out"),
        ('{"model": {}, "settings": {}, "songs": []}', "results of stage acceptance"),
        ('{"task": {"models": {"model": "own"}}, "clips": []}', "earlier version"),
        ('{"command": "evaluate", "task": 3}', "earlier version"),
    ):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(StageError, match=message) as caught:
            _claim(tmp_path, own, [])
        assert "\n" not in str(caught.value) and (tmp_path / "run.json").read_text() == text


@pytest.mark.parametrize(
    "name",
    [
        "no-context",
        "No context",
        "wrong-context",
        "true",
        "TRUE",
        "..",
        ".",
        "a/b",
        "a\\b",
        "a:b",
        "",
        " a",
        "a.",
        "con",
    ]
    + ["nul.txt", "x" * 100, "a\nb", "a\0b", "Model"],
)
def test_names_that_share_or_leave_a_folder_are_refused(name):
    with pytest.raises(StageError) as caught:
        Task(("songs",), PLAN, {"model": "own", name: "x"})
    assert "\n" not in str(caught.value).replace(name, "")


def test_names_are_distinct_as_folders(tmp_path):
    check_names(["model", "a", "b c", "d-e", "v1.2", "日本", "no click"])
    composed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    for pair in (("b c", "b-c"), ("A", "a"), ("a", "a"), composed):
        with pytest.raises(StageError, match="choose another name|cannot name"):
            check_names(pair)
    own, x = model(tmp_path / "own", "1"), model(tmp_path / "x", "x")
    with pytest.raises(StageError, match='another name than "a"'):
        Task(("songs",), PLAN, {"model": own, "a": x}, {"a": "theirs"})
    _claim(tmp_path / "out", task(model=own, **{"no clicks": x}), [])
    with pytest.raises(StageError, match='another name than "no-clicks"'):  # also of one that an earlier run named
        _claim(tmp_path / "out", task(model=own, **{"no-clicks": x}), [])


def test_a_clip_is_never_its_own_wrong_context():
    for count in (1, 2, 3, 12):
        made = _with_partners([Clip(f"c{i}", "click", "drums", i, 3.0, bpm=100.0 + i) for i in range(count)])
        assert all(clip.partner != clip.id for clip in made)
        assert all(bool(clip.partner) == (count > 1) for clip in made)


def test_the_table_reports_that_there_is_no_wrong_context():
    row = {"condition": "model", "clip": "c0", "kind": "click", "stem": "drums", "f_measure": 0.5}
    alone = report.tables(report.summary([row]), [], "BeatNet")
    assert "drums, metronomes: no wrong context" in alone and "| wrong context |" not in alone
    with_partner = report.tables(report.summary([row | {"wrong": {"f_measure": 0.1}}]), [], "BeatNet")
    assert "no wrong context" not in with_partner and "| wrong context | 1 |" in with_partner


class Clicks(Models):
    """Plays the clicks; counts."""

    made: list = []

    def play(self, condition, clip):
        self.made.append((condition, clip.id))
        return clip.context(32000), 32000


@pytest.fixture
def played(tmp_path, monkeypatch):
    """A task of two metronomes."""
    monkeypatch.setattr(protocol, "Models", Clicks)
    monkeypatch.setattr(Clicks, "made", [])
    return Task((str(band(tmp_path / "band", songs=2, seconds=4.0)),), PLAN, {"model": model(tmp_path / "own", "1")})


def test_rows_of_other_instruments_are_measured_again_and_not_made_again(played, tmp_path, monkeypatch):
    out, seen = tmp_path / "out", []
    _, rows = run(played, out)
    assert len(rows) == len(Clicks.made) == 3  # two clips and one without context
    assert {row["wrong"] is not None for row in rows if row["condition"] == "model"} == {True}
    monkeypatch.setattr("stage.evaluation.protocol.measure.identities", lambda: {"ours": "trained on"})
    _, again = run(played, out, on_progress=lambda done, total, what: seen.append((done, total)))
    assert len(Clicks.made) == 3 and seen[0] == (0, 3) and seen[-1] == (3, 3)
    assert {row["measures"] for row in rows}.isdisjoint(row["measures"] for row in again)
    assert [row["f_measure"] for row in rows] == [row["f_measure"] for row in again]


def test_damage_to_kept_files_costs_only_what_is_damaged(played, tmp_path, monkeypatch):
    out = tmp_path / "out"
    _, rows = run(played, out)
    lines = (out / "clips.jsonl").read_text().splitlines()
    (out / "clips.jsonl").write_text("\n".join([lines[0], lines[1][:30], lines[2], ""]))
    _, again = run(played, out)
    assert again == rows and len(Clicks.made) == 3
    computed = []

    def embed(audio, rate):
        computed.append(len(audio))
        return np.full((2, 3), audio[:9].sum(), np.float32)

    monkeypatch.setattr(quality.embeddings, "load", lambda name: embed)
    ids = [row["clip"] for row in rows if row["condition"] == "model"]
    first = quality.embedded(out, "musicnn", "model", ids)
    assert len(computed) == 2 and len(quality.embedded(out, "musicnn", "model", ids)) == 2 and len(computed) == 2
    place = out / "embeddings" / "musicnn" / "model.npz"
    for damaged in (place.read_bytes()[:-30], b"", b"no archive", place.read_bytes()[:100] + bytes(200)):
        place.write_bytes(damaged)
        count = len(computed)
        assert [part.tolist() for part in quality.embedded(out, "musicnn", "model", ids)] == [p.tolist() for p in first]
        assert len(computed) == count + 2
    audio, rate = read(audio_path(out, "model", ids[0]))
    write(audio_path(out, "model", ids[0]), audio * 0.5, rate, force=True)  # other audio of the same name
    count = len(computed)
    quality.embedded(out, "musicnn", "model", ids)
    assert len(computed) == count + 1
    monkeypatch.setattr(quality.embeddings, "identity", lambda name: "other weights")
    quality.embedded(out, "musicnn", "model", ids)
    assert len(computed) == count + 3


@pytest.mark.parametrize(
    "change",
    [{"kind": "song"}, {"clip": "mix-drums-0-001"}, {"f_measure": "high"}, {"wrong": {"emd": None}}, {"wrong": 3}]
    + [{"stem": None}, {"condition": "true"}, {"f_measure": True}],
)
def test_rows_that_do_not_fit_together_are_measured_again(change):
    row = {"key": "model/mix-drums-0-000", "condition": "model", "clip": "mix-drums-0-000", "kind": "mix"}
    row |= {"stem": "drums", "tracker": "BeatNet", "measures": "1", "f_measure": 0.5, "wrong": {"emd": 0.1}}
    assert protocol.valid(row) and not protocol.valid(row | change)


def test_contexts_are_not_written_over_the_stems_of_a_system(played, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    assert export_contexts(played, theirs) == 2  # an empty folder will do
    (theirs / "click-drums-000.wav").write_text("a stem")
    with pytest.raises(StageError, match="is not empty"):
        export_contexts(played, theirs)
    assert (theirs / "click-drums-000.wav").read_text() == "a stem"
    assert {path.name for path in theirs.iterdir()} == {"click-drums-000.wav", "click-drums-001.wav", "clips.json"}


def test_a_folder_in_use_is_left_alone(played, tmp_path):
    with lock(tmp_path / "out"), pytest.raises(StageError, match="in use by another evaluation"):
        run(played, tmp_path / "out")


def test_one_command_in_the_folder_of_the_other(played, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"model": {}, "settings": {}, "songs": []}')
    arguments = [
        "evaluate",
        played.models["model"],
        "--data",
        played.data[0],
        "--stem",
        "drums",
        "--embedding",
        "musicnn",
    ]
    assert cli.run([*arguments, "--passes", "0", "-o", str(tmp_path / "out")]) == 2
    assert "holds results of stage acceptance" in capsys.readouterr().err
    assert cli.run([*arguments, "--passes", "0", "--clicks", "0", "-o", str(tmp_path / "empty")]) == 2
    assert "nothing to evaluate" in capsys.readouterr().err
