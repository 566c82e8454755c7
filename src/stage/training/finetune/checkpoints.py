"""Checkpoints of a run: a folder for each step, whole or not at all, the last and the best kept.

RUN/checkpoints/step-00001000/state.pt     tensors: moving weights, their average, the optimizer's moments
                             /state.json   step, seconds spent, validation loss, the recipe
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from stage.errors import StageError
from stage.training.finetune.recipe import Keep


def folders(run: Path) -> list[Path]:
    """Whole checkpoints of a run, the oldest first."""
    return sorted(path.parent for path in (run / "checkpoints").glob("step-*/state.json"))


def about(folder: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, without its tensors. Raises StageError if it is damaged."""
    try:
        return json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise StageError(f"{folder} is damaged: delete it, and the run goes on from the checkpoint before") from None


def read(folder: Path) -> dict[str, Any]:
    """The tensors of a checkpoint, on the CPU; plain containers and tensors alone are read. Raises StageError if it is
    damaged."""
    try:
        return torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # torch has many errors of its own for a spoilt file
        raise StageError(
            f"{folder} is damaged ({type(error).__name__}): delete it, and the run goes on from the checkpoint before"
        ) from None


def write(run: Path, tensors: dict[str, Any], known: dict[str, Any], keep: Keep) -> Path:
    """Write the checkpoint of step ``known["step"]`` and forget those that are not to be kept.

    It is written beside its place, brought to the disk, and moved there, so a kill or a full disk leaves the ones
    before as they were.
    Raises StageError where it cannot be written.
    """
    place = run / "checkpoints" / f"step-{known['step']:08d}"
    if (place / "state.json").exists():  # of the same step of the same run: it is the same
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=place.parent))
    try:
        torch.save(tensors, partial / "state.pt")
        (partial / "state.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        for file in partial.iterdir():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
        shutil.rmtree(place, ignore_errors=True)  # the rest of one that was being deleted
        os.rename(partial, place)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        shutil.rmtree(partial, ignore_errors=True)
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise StageError(
            f"the checkpoint of step {known['step']} could not be written ({why}): make room and start the same command"
            " again"
        ) from None
    prune(run, keep)
    return place


def prune(run: Path, keep: Keep) -> None:
    """Delete checkpoints but the last and the best, and what a kill left half-written."""
    for partial in (run / "checkpoints").glob(".partial-*"):
        shutil.rmtree(partial, ignore_errors=True)
    found = folders(run)
    stay = {*found[-keep.last :], *ranked(run)[: keep.best]}
    for folder in found:
        if folder not in stay:
            os.remove(folder / "state.json")  # from here on it is none
            shutil.rmtree(folder, ignore_errors=True)


def ranked(run: Path) -> list[Path]:
    """Checkpoints with a validation loss, the lowest first."""
    losses = {folder: about(folder).get("valid") for folder in folders(run)}
    return sorted(
        (folder for folder, loss in losses.items() if loss is not None), key=lambda folder: (losses[folder], folder)
    )


def mark_exported(folder: Path) -> None:
    """Note that the model of a run's last checkpoint has been written."""
    known = about(folder) | {"exported": True}
    partial = folder / ".state.partial"
    partial.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / "state.json")
