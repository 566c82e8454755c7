"""The benchmark: what it plans, what it makes of its measurements, and one measurement that is cheap."""

import pytest

from stage.benchmark import measure, report
from stage.cli import app as cli
from stage.cli.bench import plan

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
        "ours int8": STEP,
        "ours int8 x8": {**STEP, "steps_per_second": 20.0},
        "quality float32": {"beats": 0.9, "beats_noise": 0.03, "chords": 0.8, "chords_noise": 0.04},
        "quality int8": {"kl": 0.02, "beats": 0.85, "beats_noise": 0.04, "chords": 0.8, "chords_noise": 0.03},
    }


def test_figures_are_made_of_measurements_and_of_nothing_else():
    figures = {name: (value, sense, asked) for name, value, sense, asked in report.figures(found())}
    assert figures["int8 / transformers bf16"] == (5.0, "at least", 3.2)
    assert figures["int8, share of the memory's limit"][0] == pytest.approx(4e8 * 50 / 25e9)
    assert figures["8 variations / 8 single runs"][0] == pytest.approx((0.5 + 503 / 20) / (8 * (0.5 + 503 / 50)))
    assert figures["KL of int8, embedded"] == (0.02, "at most", 0.01)
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
        "transformers": "v",
    }
    report.print_tables(given)
    out = capsys.readouterr().out
    assert "| ours int8 x8 | 20.0 | 3.20 |" in out and "| KL of int8, embedded | 0.02 | at most 0.01 | FAIL |" in out
    assert "| int8 / transformers bf16 | 5 | at least 3.2 | pass |" in out and "without bf16 instructions" in out


def test_every_figure_has_its_measurement():
    names = [name for name, _, _ in plan({"steps", "peer", "many", "job", "first", "quality"}, "w", 500, 8, 2, "cpu")]
    assert len(names) == len(set(names)) == 16 and "transformers bf16 x8" in names and "ours int4" in names


def test_bandwidth_is_measured_in_a_process_of_its_own():
    assert 1e8 < measure.run("bandwidth", threads=1)["bytes_per_second"] < 1e13
    with pytest.raises(RuntimeError, match="steps"):
        measure.run("steps", weights="/nowhere", precision="int8", variations=1, count=1, threads=1)


def test_an_unknown_part_is_refused(capsys):
    assert cli.run(["bench", "--only", "luck"]) == 2 and "no part luck" in capsys.readouterr().err
