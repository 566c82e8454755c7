"""What every training loop needs: a recipe, a schedule, a log, and checkpoints that survive a kill."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from stage.errors import MissingExtra, StageError
from stage.training.embedded.muon import Muon


def read_recipe(path: Path, changes: list[str] | None = None) -> dict[str, Any]:
    """Read a recipe (YAML) and apply ``key.sub=value`` changes from the command line.

    Raises StageError where the file is missing or a change names a key that the recipe has not.
    """
    try:
        recipe = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise StageError(f"no recipe at {path}; the shipped ones are in recipes/") from None
    except yaml.YAMLError as error:
        raise StageError(f"{path} is not a YAML recipe: {str(error).splitlines()[0]}") from None
    for change in changes or []:
        name, _, value = change.partition("=")
        *parents, last = name.split(".")
        place = recipe
        for parent in parents:
            place = place.get(parent, {})
        if last not in place:
            raise StageError(f"the recipe has no '{name}'; its keys: {', '.join(recipe)}")
        place[last] = yaml.safe_load(value)
    return recipe


class Schedule:
    """Warm-up, constant, then a linear fall to ``floor``, over steps or minutes, whichever ends first."""

    def __init__(self, steps: int, minutes: float | None, warmup: int = 100, decay: float = 0.4, floor: float = 0.02):
        self.steps, self.minutes, self.warmup, self.decay, self.floor = steps, minutes, warmup, decay, floor

    def progress(self, step: int, seconds: float) -> float:
        """Share of the run that is done, 0..1."""
        share = step / self.steps
        if self.minutes:
            share = max(share, seconds / 60 / self.minutes)
        return min(1.0, share)

    def factor(self, step: int, seconds: float) -> float:
        """Factor on the learning rate."""
        rest = (1 - self.progress(step, seconds)) / self.decay
        return min(1.0, (step + 1) / self.warmup, max(self.floor, rest))


def precision(name: str, device: torch.device) -> torch.autocast:
    """Autocast for 'float32', 'bf16', or 'auto': bf16 where it multiplies faster on this machine.

    Many CPUs have no bf16 instructions and are slower in it, so it is tried.
    """
    if name not in ("auto", "float32", "bf16"):
        raise StageError(f"precision is auto, float32 or bf16, not '{name}'")
    wanted = name == "bf16"
    if name == "auto":
        spent = {}
        for dtype in (torch.float32, torch.bfloat16):
            matrix = torch.ones(512, 512, dtype=dtype, device=device)
            matrix @ matrix
            clock = time.perf_counter()
            for _ in range(5):
                (matrix @ matrix).sum().item()
            spent[dtype] = time.perf_counter() - clock
        wanted = spent[torch.bfloat16] < 0.9 * spent[torch.float32]
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


class Log:
    """Scalars to ``log.jsonl`` and TensorBoard under ``folder``; listening examples to TensorBoard too."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = open(folder / "log.jsonl", "a", buffering=1)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtra("training", "train") from None
        self.board = SummaryWriter(str(folder / "tensorboard"))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write one line of numbers."""
        clean = {name: round(float(torch.as_tensor(value).detach()), 5) for name, value in values.items()}
        self.file.write(json.dumps({"step": step, "time": round(time.time(), 1), **clean}) + "\n")
        for name, value in clean.items():
            if math.isfinite(value):
                self.board.add_scalar(name, value, step)

    def audio(self, step: int, name: str, audio: torch.Tensor, rate: int) -> None:
        """A listening example, audio [N]."""
        self.board.add_audio(name, audio.clamp(-1, 1)[None], step, sample_rate=rate)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state so that a kill at any moment leaves the old one or the new one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """The state of an earlier run in this folder, or None. Only tensors and plain containers are read."""
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


def optimizers(matrices: list[torch.nn.Parameter], rest: list[torch.nn.Parameter], recipe: dict) -> list:
    """Muon for the hidden matrices, where the recipe gives it a rate, and AdamW for everything else."""
    if not recipe["muon_lr"]:
        matrices, rest = [], rest + matrices
    made = [
        torch.optim.AdamW(
            rest, lr=recipe["lr"], betas=tuple(recipe["betas"]), weight_decay=recipe["weight_decay"], fused=True
        )
    ]
    if matrices:
        made.append(Muon(matrices, lr=recipe["muon_lr"], weight_decay=recipe["weight_decay"]))
    return made
