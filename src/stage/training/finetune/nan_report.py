"""The report of a loss that is no number: which step, which songs, which parts, so that the cause can be found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stage.errors import StageError
from stage.training.finetune.trainable import local

if TYPE_CHECKING:
    from stage.training.finetune.batches import Loaded
    from stage.training.finetune.run import Run


def not_a_number(run: Run, seen: list[tuple[Loaded, Tensor]], square: float) -> StageError:
    """Write RUN/nan-step-S-process-P.json for this step's passes; returns the error that ends the run.

    seen: each pass and its losses of the codebooks [K]. square: of the gradient's norm. No checkpoint is written, so
    the run goes on from
    the last sound one.
    """
    rank, passes = run.fabric.global_rank, []
    for loaded, losses in seen:
        passes.append(
            {
                "examples": loaded.numbers,
                "songs": loaded.songs,
                "stems": loaded.stems,
                "contexts": loaded.kinds,
                "texts": loaded.texts,
                "losses of the codebooks": [repr(value) for value in losses.tolist()],
                "finite": bool(losses.isfinite().all()),
            }
        )
    report: dict[str, Any] = {
        "step": run.step + 1,
        "process": rank,
        "lr": run.optimizer.param_groups[0]["lr"],
        "gradient norm squared": repr(square),
        "passes": passes,
        "weights that are not finite": _spoilt({n: p.detach() for n, p in run.moving.items()}),
        "gradients that are not finite": _spoilt({n: p.grad for n, p in run.moving.items() if p.grad is not None}),
    }
    path = run.out / f"nan-step-{run.step + 1}-process-{rank}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    blamed = [one for one in passes if not one["finite"]] or passes
    songs = ", ".join(dict.fromkeys(song for one in blamed for song in one["songs"]))
    parts = report["weights that are not finite"] or report["gradients that are not finite"] or ["the loss alone"]
    return StageError(
        f"the loss is no number in step {run.step + 1} (songs: {songs}; parts: {', '.join(parts[:3])}): see {path}. "
        "The last checkpoint is sound; try a lower optimizer.lr, engine.precision=bf16, or leave the song out"
    )


def _spoilt(tensors: dict[str, Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if not bool(torch.isfinite(local(tensor)).all())]
