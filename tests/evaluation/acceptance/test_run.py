import json

import pytest
from rich.console import Console

from helpers.clips import Session, write_corpus
from stage.corpus.read import songs
from stage.errors import StageError
from stage.evaluation.acceptance.clips import Material, Settings
from stage.evaluation.acceptance.pictures import draw
from stage.evaluation.acceptance.report import WIDTH, print_report, report, to_json, to_markdown
from stage.evaluation.acceptance.run import run, valid
from stage.files import lock

SETTINGS = Settings(mixes=4, clicks=3, prompts=2, codec=4, seconds=8.0, examples=1)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return tuple(songs(write_corpus(tmp_path_factory.mktemp("corpus")), "heldout"))


@pytest.fixture(scope="module")
def material(held_out):
    return Material(held_out, SETTINGS)


@pytest.fixture(scope="module")
def good(material, tmp_path_factory):
    """A stage that plays the true stems, what was measured, and where."""
    stage, out = Session.of(material), tmp_path_factory.mktemp("out")
    return stage, out, run(stage, material, out)


def test_true_stems_reach_the_ceiling_and_wrong_contexts_do_not(good, material):
    result = report(good[2], material)
    assert set(result.conditions) == {"click", "mix", "mix alone", "bass"}
    for task in ("mix", "mix alone", "bass"):
        means = result.conditions[task]
        assert means["right context"] == pytest.approx(means["true stem"], nan_ok=True)
        assert means["right context"]["beat_f"] > 0.8
        assert means["right context"]["beat_f"] - means["wrong context"]["beat_f"] > 0.4
        assert means["no context"]["beat_f"] < 0.6
    assert result.conditions["bass"]["right context"]["in_chord"] > 0.9
    assert result.conditions["bass"]["wrong context"]["in_chord"] < 0.45
    assert result.conditions["click"]["right context"]["onset_on"] > 0.95
    verdicts = {line.name: line.met for line in result.criteria}
    assert verdicts["mix -> drums as run by default, beat F / true drums'"]
    assert verdicts["kick stronger on downbeats, click with accents, share of clips"]
    assert verdicts["busy prompt denser than sparse, share of clips"]
    assert None not in verdicts.values()


def test_a_late_player_fails(held_out, tmp_path):
    material = Material(held_out, Settings(mixes=4, clicks=2, prompts=1, codec=2, seconds=8.0, examples=0))
    result = report(run(Session.of(material, late=0.27), material, tmp_path), material)
    for task, metric in (("mix", "beat_f"), ("bass", "beat_f"), ("bass", "onset_agreement")):
        right, true = (result.conditions[task][condition][metric] for condition in ("right context", "true stem"))
        assert right < 0.5 * true
    verdicts = {line.name: line.met for line in result.criteria}
    assert not verdicts["mix -> drums as run by default, beat F / true drums'"]
    assert not verdicts["right minus wrong context: mix as run by default, beat F"]


def test_contexts_and_grids_are_those_of_the_tasks(good):
    calls = good[0].calls
    assert calls.count("accompany drums None") == 4
    assert calls.count("accompany drums off") == 4
    assert calls.count("accompany bass None") == 4
    assert calls.count("generate drums busy, driving drums") == 2
    assert calls[-6:] == ["generate drums "] * 6  # the speed, at the end: five and one to warm up


def test_an_interrupted_run_goes_on(good, material, tmp_path):
    _, out, rows = good
    lines = (out / "clips.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run.json").write_text((out / "run.json").read_text())
    (tmp_path / "clips.jsonl").write_text("".join(lines[:-8]) + lines[-8][:20])
    stage = Session.of(material)
    seen = []
    again = run(stage, material, tmp_path, lambda done, total, key: seen.append((done, total)))
    assert again.keys() == rows.keys()
    assert len(stage.calls) <= 3 + 6  # what was missing, and the speed: five and one to warm up
    assert seen[-1] == (len(rows), len(rows))
    assert len((tmp_path / "clips.jsonl").read_text().splitlines()) == len(rows)


def test_the_speed_is_that_of_the_timed_metronomes(good, material):
    rows = good[2]
    timed = [key for key in rows if key.startswith("speed/")]
    assert list(rows)[-5:] == timed == [f"speed/00{index}" for index in range(5)]
    assert [key for key in rows if "took" in rows[key]] == timed
    clock = {key: {"took": took} for key, took in zip(timed, (2.0, 90.0, 1.0, 3.0, 1.5))}
    result = report({**rows, **clock}, material)
    assert result.criteria[-1].name == "seconds for 10 s of drums, guidance on"
    assert result.criteria[-1].value == result.extra["speed"]["click"] == pytest.approx(2.0 * 10 / 8)
    unmeasured = report({key: row for key, row in rows.items() if key not in timed}, material)
    assert unmeasured.extra["speed"] == {} and unmeasured.criteria[-1].met is None


def test_the_first_of_the_timed_is_not_counted(good, material, tmp_path, monkeypatch):
    """A clock that an hour passes on while the first drums are made, and then two seconds for each."""
    kept = [line for line in (good[1] / "clips.jsonl").read_text().splitlines(keepends=True) if '"took"' not in line]
    (tmp_path / "run.json").write_text((good[1] / "run.json").read_text())
    (tmp_path / "clips.jsonl").write_text("".join(kept))
    stage, now = Session.of(material), [0.0]
    make = stage.generate_audio

    def slow_at_first(*args, **values):
        now[0] += 2.0 if now[0] else 3600.0
        return make(*args, **values)

    monkeypatch.setattr(stage, "generate_audio", slow_at_first)
    monkeypatch.setattr("stage.evaluation.acceptance.jobs.time.perf_counter", lambda: now[0])
    rows = run(stage, material, tmp_path)
    assert [rows[f"speed/00{index}"]["took"] for index in range(5)] == [2.0] * 5


def test_results_of_others_are_not_mixed_in(good, held_out):
    with pytest.raises(StageError, match="another model"):
        run(good[0], Material(held_out, Settings(mixes=3, clicks=3, seconds=8.0)), good[1])


def test_table_json_and_pictures(good, material):
    _, out, rows = good
    result = report(rows, material)
    console = Console(width=WIDTH, record=True)
    print_report(result, console)
    text = console.export_text()
    assert "pass" in text and "wrong context" in text and ">= 0.85" in text
    assert "\u2026" not in text
    assert to_markdown(result).count("\n| ") == 1 + len(result.criteria)
    data = json.loads(
        to_json(result, SETTINGS, {"name": "session"}), parse_constant=lambda name: pytest.fail(f"{name} is not JSON")
    )
    assert data["conditions"]["click"]["right context"]["in_chord"] is None
    pictures = draw(result, rows, material, out)
    assert [path.name for path in pictures] == ["onsets.png", "conditions.png", "stems.png"]
    assert all(path.stat().st_size > 5000 for path in pictures)
    assert (out / "examples" / "mix-alone-000-with-context.flac").exists()


def test_a_model_without_bass_is_measured_on_drums(held_out, tmp_path):
    material = Material(held_out, Settings(mixes=2, clicks=2, prompts=1, codec=2, seconds=8.0, examples=0))
    stage = Session.of(material)
    stage.stems = ("drums",)
    result = report(run(stage, material, tmp_path), material)
    assert "bass" not in result.conditions
    assert {line.met for line in result.criteria if "bass" in line.name} == {None}


def test_songs_that_have_changed_are_noticed_and_earlier_folders_go_on(good, material, tmp_path):
    """A folder of an earlier version has neither the command nor the fingerprint of the clips in run.json."""
    known = json.loads((good[1] / "run.json").read_text())
    assert known["command"] == "acceptance"
    earlier = {key: known[key] for key in ("model", "settings", "songs")}
    for about, message in ((known | {"clips": "other"}, "songs that have changed"), ({"settings": {}}, "another")):
        (tmp_path / "run.json").write_text(json.dumps(about))
        with pytest.raises(StageError, match=message):
            run(good[0], material, tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(earlier))
    (tmp_path / "clips.jsonl").write_bytes((good[1] / "clips.jsonl").read_bytes())
    assert run(good[0], material, tmp_path) == json.loads(json.dumps(good[2]))  # tuples come back as lists
    assert json.loads((tmp_path / "run.json").read_text()) == known


def test_a_damaged_row_in_the_middle_is_measured_again_and_no_other(good, material, tmp_path):
    lines = (good[1] / "clips.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run.json").write_bytes((good[1] / "run.json").read_bytes())
    damaged = json.dumps({"key": json.loads(lines[4])["key"], "heard": {"seconds": 8.0}}) + "\n"
    (tmp_path / "clips.jsonl").write_text("".join([*lines[:2], lines[2][:50] + "\n", lines[3], damaged, *lines[5:]]))
    stage = Session.of(material)
    assert run(stage, material, tmp_path).keys() == good[2].keys()
    assert len(stage.calls) <= 2


def test_the_other_commands_folder_and_one_in_use_are_refused(good, material, tmp_path):
    (tmp_path / "run.json").write_text('{"task": {}, "clips": []}')
    with pytest.raises(StageError, match="results of stage evaluate"):
        run(good[0], material, tmp_path)
    with lock(good[1]), pytest.raises(StageError, match="in use by another evaluation"):
        run(good[0], material, good[1])


def test_the_two_commands_have_folders_of_their_own():
    from inspect import signature

    from stage.cli.acceptance import acceptance
    from stage.cli.evaluate import evaluate

    defaults = [signature(command).parameters["out"].default for command in (acceptance, evaluate)]
    assert defaults[0] != defaults[1]


def test_rows_that_lack_a_figure_are_measured_again(good):
    for key, change in (
        ("codec mix/000", {"part": None}),
        ("codec mix/000", {"opus": "0.3"}),
        ("speed/000", {"took": None}),
        ("click/000", {"kick": [1.0]}),
        ("true drums/000", {"kick": None}),
        ("bass/000", {"heard": {}}),
        ("no context bass/000", {"heard": None}),
    ):
        row = {"key": key, **json.loads(json.dumps(good[2][key]))}
        assert valid(row) and not valid(row | change)
