"""The report of a loss that is not a number: which step, songs and parts, so that the cause can be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stage.errors import StageError
from stage.files import write_json
from stage.training.finetune.batches import Loaded
from stage.training.finetune.trainable import local


def not_a_number(
    out: Path,
    step: int,
    process: int,
    lr: float,
    trained: Mapping[str, Tensor],
    passes: Sequence[tuple[Loaded, Tensor]],
    square: float,
) -> StageError:
    """Write OUT/nan-step-S-process-P.json for the passes of one step; returns the error that ends the run.

    trained: parameters by name, with their gradients. passes: each with its losses of the codebooks [K]. square: of the
    gradient's norm. No checkpoint is written, so the run goes on from the last sound one.
    """
    described = [
        {
            "examples": loaded.numbers,
            "songs": loaded.songs,
            "stems": loaded.stems,
            "contexts": loaded.kinds,
            "texts": loaded.texts,
            "losses of the codebooks": [repr(value) for value in losses.tolist()],
            "finite": bool(losses.isfinite().all()),
        }
        for loaded, losses in passes
    ]
    report: dict[str, Any] = {
        "step": step,
        "process": process,
        "lr": lr,
        "gradient norm squared": repr(square),
        "passes": described,
        "weights that are not finite": _not_finite({name: p.detach() for name, p in trained.items()}),
        "gradients that are not finite": _not_finite(
            {name: p.grad for name, p in trained.items() if p.grad is not None}
        ),
    }
    path = out / f"nan-step-{step}-process-{process}.json"
    write_json(path, report)
    blamed = [one for one in described if not one["finite"]] or described
    songs = ", ".join(dict.fromkeys(song for one in blamed for song in one["songs"]))
    parts = report["weights that are not finite"] or report["gradients that are not finite"] or ["the loss alone"]
    return StageError(
        f"the loss is not a number in step {step} (songs: {songs}; parts: {', '.join(parts[:3])}): see {path}. "
        "The last checkpoint is sound; try a lower optimizer.lr, engine.precision=bf16, or leave the song out"
    )


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if not bool(torch.isfinite(local(tensor)).all())]
