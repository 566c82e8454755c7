"""Pretraining of the context encoder: beats and chords from mixes alone, before the decoder is trained with it.

A step costs a third of the decoder's: there is no target, and the decoder's layers are left out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stage.training.embedded.loop import Training
from stage.training.embedded.recipe import DecoderRecipe
from stage.training.embedded.token_examples import Batch, Examples
from stage.training.schedule import LinearSchedule


def mixes(examples: Examples, number: int, rows: int, frames: int) -> Batch:
    """Rows of a mix alone, without separator and target."""
    batch = examples.batch(number, "mix", rows=rows, frames=frames, crop=frames)
    stop = batch.sequence.first
    return replace(batch.labels(slice(stop)), sequence=batch.sequence.cut(0, stop))


def on_the_beat(read: Tensor, phase: Tensor) -> float:
    """Share of columns whose read place in the beat [.., 4] is less than a seventh of a beat off (70 ms at 120 BPM)."""
    angle = torch.atan2(read[..., 1], read[..., 0]) - torch.atan2(phase[..., 1], phase[..., 0])
    return float((angle.cos() > math.cos(2 * math.pi / 7)).float().mean())


@torch.inference_mode()
def validate(trainable: nn.Module, held: Examples, frames: int) -> dict[str, float]:
    """Losses and hits on held-out mixes."""
    batch = mixes(held, 0, 48, frames).to(trainable.decoder.device)
    x, _ = trainable.decoder.enter(batch.sequence)
    losses = trainable.context_heads(x, batch)
    return {f"context/{name}": float(value) for name, value in losses.items()} | {
        "context/on the beat": on_the_beat(trainable.context_heads.read(x), batch.phase)
    }


class Pretraining(Training):
    """Steps of the context encoder and of the heads that read beats and chords from it, once for a run.

    Its state is context.pt, its log is in a folder of its own.
    """

    state, log_folder = "context.pt", "pretrain"

    def __init__(
        self,
        trainable: nn.Module,
        examples: Examples,
        held: Examples,
        recipe: DecoderRecipe,
        out: Path,
        autocast: torch.autocast,
    ):
        options = recipe.context_first
        self.trainable, self.examples, self.held, self.autocast = trainable, examples, held, autocast
        self.recipe, self.rows, self.frames = recipe, options.rows, int(options.seconds * examples.rate)
        parts = nn.ModuleList([trainable.decoder.context, trainable.context_heads])
        optimizer = torch.optim.AdamW(
            parts.parameters(), lr=options.lr, weight_decay=0.01, betas=(0.9, 0.95), fused=True
        )
        schedule = LinearSchedule(steps=options.steps, warmup=50, decay=0.5, floor=0.02)
        super().__init__(out, schedule, {"parts": parts}, [optimizer], 1.0, log_every=20, save_every=200)

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """Weighted losses of beats and chords."""
        batch = mixes(self.examples, 10_000_000 + self.step, self.rows, self.frames).to(self.trainable.decoder.device)
        with self.autocast:
            losses = self.trainable.context_heads(self.trainable.decoder.enter(batch.sequence)[0], batch)
            total = sum(getattr(self.recipe.losses, name) * value for name, value in losses.items())
        return total, {f"pretrain/{name}": value for name, value in losses.items()}

    def after_step(self) -> None:
        """Drop the gradients of parts that are not trained here."""
        self.trainable.zero_grad(set_to_none=True)

    def validate(self) -> dict[str, float]:
        """Losses and hits on held-out mixes."""
        return validate(self.trainable, self.held, self.frames)
