"""Several processes measure what one would; whatever stops them, the run goes on."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from helpers.clips import write_corpus
from helpers.fakes import drawn_stage
from stage.corpus.read import songs
from stage.errors import StageError
from stage.evaluation.acceptance.clips import Material, Settings
from stage.evaluation.acceptance.run import Team, run
from stage.pipeline import Stage

SETTINGS = Settings(mixes=2, clicks=2, prompts=1, codec=2, speed=1, seconds=4.0, examples=1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "drawn"
    drawn_stage().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def stage(model):
    return Stage.from_pretrained(model, device="cpu")


@pytest.fixture(scope="module")
def material(corpus):
    return Material(tuple(songs(corpus, "heldout")), SETTINGS)


@pytest.fixture(scope="module")
def alone(stage, material, tmp_path_factory):
    """What this process measures on its own, and where. It takes the threads of one worker of two: rounding depends on
    them."""
    out, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        return run(stage, material, out), out
    finally:
        torch.set_num_threads(threads)


def measured(rows: dict[str, dict]) -> dict[str, str]:
    """The rows as text, without the mark, and without those that depend on the clock."""
    rows = {
        key: {name: row[name] for name in row if name != "mark"}
        for key, row in rows.items()
        if not key.startswith("speed/")
    }
    return {key: json.dumps(row) for key, row in rows.items()}


def lines(out) -> list[dict]:
    return [json.loads(line) for line in (out / "clips.jsonl").read_text().splitlines()]


def half_done(alone, out) -> int:
    """Begin a folder with every other row of a whole run, each with a mark, and a line that was cut; how many there
    are."""
    kept = [{**row, "mark": 1} for row in lines(alone[1])[::2] if not row["key"].startswith("speed/")]
    (out / "run.json").write_text((alone[1] / "run.json").read_text())
    (out / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept) + '{"key": "click/0')
    return len(kept)


def test_two_workers_go_on_and_measure_what_one_does(stage, material, corpus, model, alone, tmp_path):
    kept, reports = half_done(alone, tmp_path), []
    rows = run(stage, material, tmp_path, lambda *now: reports.append(now), Team(2, corpus, model, "cpu"))
    assert list(rows) == list(alone[0])
    assert sum("mark" in row for row in rows.values()) == kept  # nothing was repeated
    assert measured(rows) == measured(alone[0])
    written = [row["key"] for row in lines(tmp_path)]
    assert sorted(written) == sorted(rows) and written[-1] == "speed/000"  # the speed when all else was done
    assert [done for done, _, _ in reports[: len(rows) - kept]] == list(range(kept, len(rows)))
    assert reports[-1] == (len(rows), len(rows), "")
    assert {path.name for path in (tmp_path / "examples").iterdir()} <= {
        path.name for path in (alone[1] / "examples").iterdir()
    }


def test_an_error_in_a_worker_is_one_line(stage, material, corpus, alone, tmp_path):
    kept = half_done(alone, tmp_path)
    with pytest.raises(StageError, match="nowhere") as caught:
        run(stage, material, tmp_path, team=Team(2, corpus, str(tmp_path / "nowhere"), "cpu"))
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children() and len(lines(tmp_path)) == kept


def test_a_worker_that_is_killed_stops_the_run(stage, material, corpus, model, alone, tmp_path):
    kept = half_done(alone, tmp_path)

    def kill(done, total, key):
        if done > kept:
            multiprocessing.active_children()[0].kill()

    with pytest.raises(StageError, match="a worker was ended from outside"):
        run(stage, material, tmp_path, kill, Team(2, corpus, model, "cpu"))
    assert not multiprocessing.active_children() and kept < len(lines(tmp_path)) < len(alone[0])


def processes_of(out) -> list[str]:
    """Process ids whose environment carries the mark of a run into `out`."""
    found = []
    for process in (name for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open(f"/proc/{process}/environ", "rb") as file:
                if f"STAGE_TEST_RUN={out}".encode() in file.read().split(b"\0"):
                    found.append(process)
        except OSError:
            pass
    return found


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="looks for processes in /proc")
@pytest.mark.parametrize("stop", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_what_stops_the_command_stops_its_workers(corpus, model, tmp_path, stop):
    """Ctrl-C reaches all processes of a terminal, SIGKILL the parent alone."""
    out = tmp_path / "out"
    command = [
        "acceptance",
        corpus,
        "--model",
        model,
        "--out",
        out,
        "--quick",
        "--seconds",
        4,
        "--workers",
        2,
        "--device",
        "cpu",
    ]
    # A job in a shell's background is started with Ctrl-C ignored, which what it starts would inherit.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from stage.cli.app import main;"
        " main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, command)],
        env={**os.environ, "STAGE_TEST_RUN": str(out)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (out / "clips.jsonl").exists() or not (out / "clips.jsonl").stat().st_size:
        assert process.poll() is None
        time.sleep(0.1)
    assert len(processes_of(out)) >= 3
    (os.killpg if stop == signal.SIGINT else os.kill)(process.pid, stop)
    errors = process.communicate(timeout=300)[1]
    while processes_of(out):  # after SIGKILL the workers finish what they are at
        time.sleep(0.1)
    if stop != signal.SIGKILL:
        assert process.returncode == 130 and errors == "stage: stopped; unfinished results were not kept\n"
        assert not [name for name in os.listdir(out / "examples") if name.startswith(".")]
    assert all(row["key"] for row in lines(out))
