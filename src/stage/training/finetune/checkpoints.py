"""Checkpoints of a run: a folder for each step, whole or not at all, the last and the best kept.

RUN/checkpoints/step-00001000/state.pt     tensors: trained weights, their average, the optimizer's moments
                             /state.json   step, seconds spent, validation loss, the recipe
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from stage.errors import StageError
from stage.files import remove_folder, whole_folder, write_json
from stage.training import state
from stage.training.finetune.recipe import Keep

REMEDY = "delete it, and the run goes on from the checkpoint before"


def folders(run: Path) -> list[Path]:
    """Whole checkpoints of a run, the oldest first."""
    return sorted(path.parent for path in (run / "checkpoints").glob("step-*/state.json"))


def about(folder: Path) -> dict[str, Any]:
    """What is recorded of a checkpoint besides its tensors. Raises StageError if it is damaged."""
    try:
        found = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("step"), int):
            return found
    except (OSError, ValueError):
        pass
    raise StageError(f"{folder} is damaged: {REMEDY}")


def whole(folder: Path) -> dict[str, Any]:
    """`about` with all that a run needs to go on. Raises StageError if it is damaged."""
    found = about(folder)
    kinds = {"recipe": dict, "seconds": (int, float), "examples": int, "exported": bool, "figures": dict}
    if all(isinstance(found.get(key), kind) for key, kind in kinds.items()):
        return found
    raise StageError(f"{folder} is damaged: {REMEDY}")


def read(folder: Path) -> dict[str, Any]:
    """The tensors of a checkpoint, on the CPU; plain containers and tensors alone are read. Raises StageError if it is
    damaged."""
    found = state.load(folder / "state.pt", REMEDY, folder)
    if found is None:
        raise StageError(f"{folder} is damaged (state.pt is missing): {REMEDY}")
    return found


def write(run: Path, tensors: dict[str, Any], known: dict[str, Any], keep: Keep) -> Path:
    """Write the checkpoint of step ``known["step"]`` and remove those that are not to be kept.

    It appears whole or not at all: a kill or a full disk leaves the ones before as they were. Where the step is saved
    already the tensors are the same; what else became known since (a validation loss) is added.
    Raises StageError where it cannot be written.
    """
    place = run / "checkpoints" / f"step-{known['step']:08d}"
    if (place / "state.json").exists():
        write_json(place / "state.json", about(place) | {key: one for key, one in known.items() if one is not None})
    else:
        with whole_folder(place, force=True) as partial, state.writing(f"the checkpoint of step {known['step']}"):
            torch.save(tensors, partial / "state.pt")
            write_json(partial / "state.json", known)
    prune(run, keep)
    return place


def prune(run: Path, keep: Keep) -> None:
    """Delete checkpoints but the last and the best, and what earlier versions left half-written."""
    for partial in (run / "checkpoints").glob(".partial-*"):
        shutil.rmtree(partial, ignore_errors=True)
    found = folders(run)
    stay = {*found[-keep.last :], *ranked(run)[: keep.best]}
    for folder in found:
        if folder not in stay:
            with contextlib.suppress(OSError):
                remove_folder(folder)


def ranked(run: Path) -> list[Path]:
    """Checkpoints with a validation loss, the lowest first."""
    losses = {folder: about(folder).get("valid") for folder in folders(run)}
    return sorted(
        (folder for folder, loss in losses.items() if loss is not None), key=lambda folder: (losses[folder], folder)
    )


def mark_exported(folder: Path) -> None:
    """Record that the model of a run's last checkpoint has been written."""
    write_json(folder / "state.json", about(folder) | {"exported": True})
