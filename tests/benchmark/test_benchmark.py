"""The benchmark: what it plans, what it makes of its measurements, and one measurement that is cheap."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from stage.benchmark import measure, peak, report
from stage.cli import app as cli
from stage.cli.bench import plan
from stage.models import engine

STEP = {
    "step_ms": 20.0,
    "steps_per_second": 50.0,
    "steps": 500,
    "peak_gb": 1.0,
    "prefill_seconds": 0.5,
    "bytes_per_step": 4e8,
    "weight_bytes": 3.6e8,
}


def found() -> dict:
    slow = {**STEP, "steps_per_second": 10.0}
    slow.pop("bytes_per_step")
    return {
        "machine": {},
        "steps": 500,
        "variations": 8,
        "bandwidth": {"bytes_per_second": 25e9},
        "transformers bf16": slow,
        "torch int8": STEP,
        "openvino int8 x8": {**STEP, "steps_per_second": 20.0},
        "quality float32": {"beats": 0.9, "beats_noise": 0.03, "chords": 0.8, "chords_noise": 0.04},
        "quality int8": {"kl": 0.02, "beats": 0.85, "beats_noise": 0.04, "chords": 0.8, "chords_noise": 0.03},
    }


def test_figures_are_made_of_measurements_and_of_nothing_else():
    figures = {name: (value, sense, asked) for name, value, sense, asked in report.figures(found())}
    assert figures["int8 / transformers bf16"] == (5.0, "at least", 4)
    assert figures["int8, share of the memory's limit"][0] == pytest.approx(4e8 * 50 / 25e9)
    assert figures["8 variations / 8 single runs"][0] == pytest.approx((0.5 + 503 / 20) / (8 * (0.5 + 503 / 50)))
    assert figures["KL of int8, sketch"] == (0.02, "at most", 0.01)
    assert figures["beats of int8 below float32's, in its noise"][0] == pytest.approx(1.0)
    assert not any("int4" in name or "job" in name or "first" in name for name in figures)  # they were not measured


def test_tables_say_what_fails(capsys):
    given = found()
    given["machine"] = {
        "date": "2026-01-01",
        "processor": "P",
        "threads": 2,
        "bf16_instructions": False,
        "torch": "t",
        "openvino": "none",
        "transformers": "v",
    }
    report.print_tables(given)
    out = capsys.readouterr().out
    assert "| openvino int8 x8 | 20.0 | 3.20 |" in out and "| KL of int8, sketch | 0.02 | at most 0.01 | FAIL |" in out
    assert "| int8 / transformers bf16 | 5 | at least 4 | pass |" in out and "without bf16 instructions" in out


def test_every_figure_has_its_measurement(monkeypatch):
    for there, count in ((False, 19), (True, 26)):
        monkeypatch.setattr(engine, "installed", lambda: there)
        parts = {"steps", "peer", "many", "job", "first", "quality"}
        names = [name for name, _, _ in plan(parts, "w", 500, 8, 2, "cpu")]
        assert len(names) == len(set(names)) == count and {"transformers bf16 x8", "torch int4"} < set(names)
        assert ("openvino int8 x8" in names) == there


def test_bandwidth_is_measured_in_a_process_of_its_own():
    assert 1e8 < measure.run("bandwidth", threads=1)["bytes_per_second"] < 1e13
    with pytest.raises(RuntimeError, match="No such file or directory: ./nowhere/stage/config.json"):
        measure.run("steps", weights="/nowhere", precision="int8", variations=1, count=1, threads=1)


def test_an_unknown_part_is_refused(capsys):
    assert cli.run(["bench", "--only", "luck"]) == 2 and "no part luck" in capsys.readouterr().err


def test_a_measurement_that_fails_stops_no_other_and_is_named(monkeypatch, capsys):
    def run(task, **arguments):
        if task == "bandwidth":
            return found()["bandwidth"]
        if arguments["precision"] == "int8":
            raise RuntimeError("RuntimeError: mat1 and mat2 | differ")
        return found()["quality float32"] | {"kl": 0.02}

    monkeypatch.setattr(measure, "run", run)
    monkeypatch.setattr(engine, "installed", lambda: False)
    assert cli.run(["bench", "--only", "quality"]) == 2
    out, err = capsys.readouterr()
    assert "1 measurements failed, the others stand: quality int8" in " ".join(err.split())
    lines, tables = out.split("\n| figure |")
    assert "quality float32: beats 0.9" in lines and "  KL of int4, sketch: 0.02, at most 0.05: pass" in lines
    assert lines.index("quality int8: failed: RuntimeError: mat1") < lines.index("KL of int4")
    assert "| KL of int8, sketch | not measured | at most 0.01 | FAIL |" in tables
    assert "| quality int8 | RuntimeError: mat1 and mat2 / differ |" in tables
    last = json.loads(out.strip().splitlines()[-1])
    assert last["quality int8"] == {"failed": "RuntimeError: mat1 and mat2 | differ"}
    assert last["quality int4"]["kl"] == 0.02


def test_figures_are_printed_when_their_last_measurement_is_there():
    given = found()
    given = {name: given[name] for name in ("machine", "variations", "bandwidth", "torch int8")}
    assert report.lines(given, "torch int8")[1:] == [
        "  int8, steps a second: 50, at least 50: pass",
        "  int8, share of the memory's limit: 0.8, at least 0.65: pass",
    ]
    given["transformers bf16"] = found()["transformers bf16"]
    assert report.lines(given, "transformers bf16")[1:] == ["  int8 / transformers bf16: 5, at least 4: pass"]
    given["bandwidth"] = {"failed": "killed"}
    values = {name: value for name, value, _, _ in report.figures(given)}
    assert values["int8, share of the memory's limit"] is None and values["int8, steps a second"] == 50
    assert report.rows(given)[0][-1] == ""


def test_peak_memory_is_that_of_this_process(monkeypatch):
    assert 1e7 < peak.peak_bytes() < 1e12
    monkeypatch.setattr(peak, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(peak, "Path", lambda name: Path("/nowhere"))
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=5))
    monkeypatch.setattr("psutil.Process", lambda: process)
    assert peak.peak_bytes() == 5
