"""A run that is killed goes on as if nothing had happened: losses and weights to the last digit, in one process and in
two."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.fake_songs import run, small_base, write_songs

pytest.importorskip("lightning_fabric")
RECIPE = """
examples: {stems: [drums], seconds: 1.0, crop: [0.5, 1.0]}
batch: {size: 1, accumulate: 2}
optimizer: {lr: 1e-3}
schedule: {steps: 7, kind: cosine, warmup: 2}
ema: 0.5
loader: {workers: 0}
validation: {examples: 2}
every: {log: 1, validate: 2, save: 2, listen: 0}
track: {tensorboard: false}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Songs, a base whose context encoder has dropout, and a recipe."""
    root = tmp_path_factory.mktemp("resume")
    write_songs(root / "songs", train=2, held=1, seconds=3.0)
    small_base(as_embedded=True).save_pretrained(str(root / "base"))
    (root / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return root


def go(place: Path, name: str, *changes: str, **how) -> Path:
    run(place / "recipe.yaml", list(changes), place / "base", place / "songs", place / name, **how)
    return place / name


def lines(folder: Path) -> list[dict]:
    """Figures without the time that they took."""
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("time", "samples_per_second", "waiting_for_data")} for line in read
    ]


@pytest.fixture(scope="module")
def undisturbed(place) -> Path:
    return go(place, "undisturbed")


def same(one: Path, other: Path) -> None:
    assert lines(one) == lines(other)
    first, second = (load_file(path / "model" / "decoder.safetensors") for path in (one, other))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("where, die_at, left", [("between", 5, 4), ("saving", 4, 2)])
def test_one_process(place, undisturbed, where, die_at, left):
    out = go(place, f"killed-{where}", die_at=die_at, where=where)
    assert not (out / "model").exists()
    assert sorted(path.parent.name for path in out.glob("checkpoints/step-*/state.json"))[-1] == f"step-{left:08d}"
    assert lines(out)[-1]["step"] >= left
    go(place, out.name, "loader.workers=1")  # also with other workers
    same(undisturbed, out)
    assert not list(out.rglob(".stage-*"))


TWO = ["engine.devices=2", "engine.accelerator=cpu", "batch.accumulate=1", "validation.examples=4"]
"""Two processes that together take the examples that one takes in two passes."""


@pytest.fixture(scope="module")
def pair(place) -> Path:
    return go(place, "two", *TWO, world=2)


def course(folder: Path) -> list[float]:
    return [line["loss"] for line in lines(folder) if "loss" in line]


def test_two_processes_do_what_one_does(undisturbed, pair):
    """But for dropout, which each draws for itself, so the first step alone is near."""
    assert course(pair)[0] == pytest.approx(course(undisturbed)[0], abs=1e-4)
    assert course(pair) == pytest.approx(course(undisturbed), abs=0.05)


def test_two_processes_go_on(place, pair):
    out = go(place, "two-killed", *TWO, world=2, die_at=5)
    go(place, out.name, *TWO, world=2)
    same(pair, out)


def test_two_processes_that_share_the_weights_out_go_on(place, pair):
    """FSDP does what DDP does, through a kill, to rounding."""
    changes = [*TWO, "engine.strategy=fsdp"]
    out = go(place, "two-shared", *changes, world=2, die_at=5)
    go(place, out.name, *changes, world=2)
    assert course(out) == pytest.approx(course(pair), abs=1e-4)
    ours, theirs = (load_file(path / "model" / "decoder.safetensors") for path in (out, pair))
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-4) for name in theirs)
