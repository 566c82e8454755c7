"""The one log of training: a line of JSON for each set of figures; TensorBoard and Weights & Biases where asked for."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stage.errors import MissingExtra, StageError
from stage.files import write_text
from stage.training.state import ROOM

PRETRAINING = ("pretrain/", "context/")
"""Figures with these names stand in older logs beside those of the run itself."""


class Log:
    """Figures of a run, appended to a file of JSON lines.

    path: the file; TensorBoard's files go into ``tensorboard`` beside it. first: the step that the run goes on from;
    lines of later steps, which a killed run wrote, and broken lines are taken out. wandb: a started run of Weights &
    Biases.
    """

    def __init__(self, path: Path, first: int = 0, tensorboard: bool = True, wandb: Any = None):
        self.path, self.wandb = path, wandb
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut(path, first)
        self.board = _tensorboard(path.parent, first) if tensorboard else None
        self.file = open(path, "a", buffering=1, encoding="utf-8")

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """One line; numbers (also 0-d tensors) are rounded to six digits and go to the boards too.

        Raises StageError where the line cannot be written.
        """
        clean = {name: _short(value) for name, value in values.items()}
        try:
            self.file.write(json.dumps({"step": step, **clean, "time": round(time.time(), 1)}, default=str) + "\n")
        except OSError as error:
            raise StageError(f"{self.path} could not be written ({error.strerror}): {ROOM}") from None
        numbers = {
            name: value for name, value in clean.items() if isinstance(value, (int, float)) and math.isfinite(value)
        }
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(numbers, step=step)

    def audio(self, step: int, name: str, audio: np.ndarray, rate: int) -> None:
        """A listening example, float32 [N] at ``rate`` Hz, for TensorBoard."""
        if self.board is not None:
            self.board.add_audio(name, np.clip(audio, -1, 1)[None], step, sample_rate=rate)

    def close(self) -> None:
        """Everything to the disk."""
        self.file.close()
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish()


def _short(value: Any) -> Any:
    """A number with six digits; anything else as it is."""
    value = float(value.detach()) if isinstance(value, Tensor) else value
    return float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value


def lines(path: Path) -> list[dict[str, Any]]:
    """The figures of a log so far; a line that a kill left unfinished is left out."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            one = json.loads(line)
            int(one["step"])
            found.append(one)
    return found


def _cut(path: Path, first: int) -> None:
    """Take out lines of later steps, and broken ones. Those of a pretraining, which counts for itself, stay."""
    if path.exists():
        kept = [one for one in lines(path) if one["step"] <= first or any(name.startswith(PRETRAINING) for name in one)]
        write_text(path, "".join(json.dumps(one) + "\n" for one in kept))


def _tensorboard(folder: Path, first: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtra("TensorBoard (track.tensorboard: false does without)", "train") from None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=first + 1 if first else None)


def wandb(folder: Path, project: str, name: str, config: dict[str, Any], identity: str) -> Any:
    """A started run of Weights & Biases. identity: of this run alone, the same each time that it goes on.

    Raises StageError where the package is not installed.
    """
    try:
        import wandb as package
    except ImportError:
        raise StageError("track.wandb needs Weights & Biases: pip install wandb, or set track.wandb=null") from None
    return package.init(project=project, name=name, dir=str(folder), config=config, resume="allow", id=identity)
