"""Where a run's figures go: metrics.jsonl always; TensorBoard and Weights & Biases where the recipe asks for them."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from stage.errors import MissingExtra, StageError
from stage.training.finetune.recipe import Recipe, Track, plain


class Metrics:
    """Lines of figures. ``first`` is the step that the run goes on from: what a killed run wrote beyond it is taken
    back."""

    def __init__(self, run: Path, recipe: Recipe, first: int):
        self.path = run / "metrics.jsonl"
        _cut(self.path, first)
        self.file = open(self.path, "a", buffering=1, encoding="utf-8")
        self.board = _tensorboard(run, recipe.track, first)
        self.wandb = _wandb(run, recipe) if recipe.track.wandb else None

    def write(self, step: int, values: dict[str, Any]) -> None:
        """One line; numbers go to the boards too."""
        clean = {
            name: round(value, 6) if isinstance(value, float) and math.isfinite(value) else value
            for name, value in values.items()
        }
        try:
            self.file.write(json.dumps({"step": step, **clean, "time": round(time.time(), 1)}, default=str) + "\n")
        except OSError as error:
            raise StageError(
                f"{self.path} could not be written ({error.strerror}): make room and start the same command again"
            ) from None
        numbers = {
            name: value for name, value in clean.items() if isinstance(value, (int, float)) and math.isfinite(value)
        }
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(numbers, step=step)

    def audio(self, step: int, path: Path) -> None:
        """A listening example, for TensorBoard."""
        if self.board is not None:
            from stage.audio.files import read

            audio, rate = read(path)
            self.board.add_audio(path.stem, np.clip(audio[:1], -1, 1), step, sample_rate=rate)

    def close(self) -> None:
        """Everything to the disk."""
        self.file.close()
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish()


def _cut(path: Path, first: int) -> None:
    """Leave out lines beyond a step, and one that a kill left unfinished."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= first:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    partial = path.with_suffix(".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    os.replace(partial, path)


def lines(run: Path) -> list[dict[str, Any]]:
    """What a run wrote so far."""
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _tensorboard(run: Path, track: Track, first: int) -> Any:
    if not track.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtra("TensorBoard (track.tensorboard: false does without)", "train") from None
    return SummaryWriter(str(run / "tensorboard"), purge_step=first + 1 if first else None)


def _wandb(run: Path, recipe: Recipe) -> Any:
    try:
        import wandb
    except ImportError:
        raise StageError("track.wandb needs Weights & Biases: pip install wandb, or set track.wandb=null") from None
    return wandb.init(
        project=recipe.track.wandb,
        name=recipe.name or run.name,
        dir=str(run),
        config=plain(recipe),
        resume="allow",
        id=run.name,
    )
