"""Figures are written as they are; what a killed run wrote does not stop the next one."""

import json
import sys
import types

import numpy as np
import pytest
import torch

from stage.errors import StageError
from stage.training import log


def write(path, *figures: dict, first: int = 0) -> None:
    opened = log.Log(path, first, tensorboard=False)
    for number, one in enumerate(figures, start=first + 1):
        opened.write(number, one)
    opened.close()


def test_small_rates_keep_their_digits(tmp_path):
    write(tmp_path / "log.jsonl", {"lr": 2e-8}, {"lr": 1.04e-5}, {"lr": torch.tensor(1 / 3)}, {"lr": float("inf")})
    assert [line["lr"] for line in log.lines(tmp_path / "log.jsonl")] == [2e-8, 1.04e-5, 0.333333, float("inf")]


def test_lines_beyond_the_step_and_broken_ones_are_taken_out(tmp_path):
    path = tmp_path / "log.jsonl"
    good = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}]
    rest = [{"step": 3, "loss": 1.0}, {"step": 900, "pretrain/phase": 0.5}]
    lines = [json.dumps(one) for one in (*good, *rest)]
    path.write_bytes(
        "\n".join([lines[0], '{"step"', "[]", '{"step": null}', *lines[1:], '{"step": 4, "lo']).encode() + b"\xff"
    )
    assert log.lines(path) == [*good, *rest]
    write(path, {"loss": 1.5}, first=2)
    found = log.lines(path)
    assert found[:3] == [*good, rest[1]]  # a pretraining counts for itself
    assert (found[3]["step"], found[3]["loss"]) == (3, 1.5) and len(found) == 4


def test_a_full_disk_is_one_line(tmp_path):
    opened = log.Log(tmp_path / "log.jsonl", tensorboard=False)

    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

    opened.file = Full()
    with pytest.raises(StageError, match="log.jsonl could not be written .No space left.*: make room"):
        opened.write(1, {})


def test_boards_get_the_numbers(tmp_path, monkeypatch):
    calls = []
    fake = types.SimpleNamespace(
        init=lambda **options: calls.append(options) or fake,
        log=lambda numbers, step: calls.append((step, numbers)),
        finish=lambda: calls.append("finished"),
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run = log.wandb(tmp_path / "drums", "project", "drums", {"seed": 1}, "1f")
    opened = log.Log(tmp_path / "log.jsonl", tensorboard=False, wandb=run)
    opened.write(7, {"loss": 0.5, "skipped_for": "song 1 is broken", "grad": float("nan")})
    opened.audio(7, "drums", np.zeros(8, np.float32), 8000)
    opened.close()
    assert calls[0]["id"] == "1f" and calls[1:] == [(7, {"loss": 0.5}), "finished"]
