"""A folder of results: rows survive damage to their file, and a folder belongs to one command."""

import json
from functools import partial

import pytest

from stage.errors import StageError
from stage.evaluation import results
from stage.evaluation.jobs import Job

GOOD = ['{"key": "a", "value": 1}', '{"key": "b", "value": 2}', '{"key": "c", "value": 3}']


@pytest.mark.parametrize(
    "broken", ['{"key": "x", "val', "\udcff\udcfe", "[1]", "7", '{"value": 1}', '{"key": 3}', "[" * 100_000, "\0" * 40]
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_damaged_line_costs_no_other_row(tmp_path, broken, place):
    path = tmp_path / "clips.jsonl"
    lines = [*GOOD[:place], broken, *GOOD[place:]]
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))  # and the last line has no end
    rows = results.read_rows(path)
    assert rows == {"a": {"value": 1}, "b": {"value": 2}, "c": {"value": 3}}
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "b", "c"]
    assert path.read_bytes().endswith(b"\n")


def test_a_whole_file_stays_as_it_is_and_the_last_row_of_a_key_counts(tmp_path):
    path = tmp_path / "clips.jsonl"
    assert results.read_rows(path) == {}
    path.write_text("\n".join([*GOOD, '{"key": "a", "value": 9}', ""]))
    before = path.stat().st_mtime_ns
    assert results.read_rows(path)["a"] == {"value": 9} and path.stat().st_mtime_ns == before


def test_rows_that_lack_what_is_reported_are_taken_out(tmp_path):
    path = tmp_path / "clips.jsonl"
    path.write_text("\n".join([*GOOD, ""]))
    assert set(results.read_rows(path, lambda row: row["value"] != 2)) == {"a", "c"}
    assert '"b"' not in path.read_text()


def test_new_rows_follow_a_cut_one(tmp_path):
    path, seen = tmp_path / "clips.jsonl", []
    path.write_text(GOOD[0] + "\n" + GOOD[1][:-4])
    jobs = [Job(key, partial(dict, value=key)) for key in ("a", "b")]
    rows = results.read_rows(path)
    with results.opened(tmp_path, rows, ["a", "b"], lambda *now: seen.append(now)) as kept:
        kept.make(kept.missing(jobs))
        kept.report("")
    assert results.read_rows(path) == {"a": {"value": 1}, "b": {"value": "b"}} == kept.wanted()
    assert seen == [(1, 2, "b"), (2, 2, "")]


def test_a_folder_belongs_to_one_command(tmp_path):
    assert results.read_run(tmp_path, "evaluate") is None
    run = tmp_path / "run.json"
    for text, command, message in (
        ('{"command": "acceptance"}', "evaluate", "results of stage acceptance: choose another --out"),
        ('{"model": {}, "settings": {}, "songs": []}', "evaluate", "results of stage acceptance"),
        ('{"task": {}, "clips": []}', "acceptance", "results of stage evaluate"),
        ('{"model": "x"}', "evaluate", "that no evaluation wrote"),
        ("[]", "acceptance", "that no evaluation wrote"),
        ('{"command": "acce', "acceptance", "cannot be read"),
        ("", "evaluate", "cannot be read"),
    ):
        run.write_text(text)
        with pytest.raises(StageError, match=message) as caught:
            results.read_run(tmp_path, command)
        assert "\n" not in str(caught.value)
    run.write_text('{"task": {}, "clips": []}')
    assert results.read_run(tmp_path, "evaluate") == {"task": {}, "clips": []}


@pytest.mark.parametrize("name", ["clips.jsonl", "audio", "embeddings"])
def test_results_whose_model_is_unknown_are_not_adopted(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(StageError, match="without run.json"):
        results.read_run(tmp_path, "evaluate")
