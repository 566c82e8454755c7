"""The context encoder's own start: beats and chords from mixes alone, before the decoder learns with it.

A step costs a third of the decoder's: there is no target, and the decoder's layers are left out.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from stage.training.embedded.loop import Log, load_state, save_state
from stage.training.embedded.token_examples import Batch, Examples


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
def validate(trainee: nn.Module, held: Examples, frames: int) -> dict[str, float]:
    """Losses and hits on held-out mixes."""
    batch = mixes(held, 0, 48, frames).to(trainee.decoder.device)
    x, _ = trainee.decoder.enter(batch.sequence)
    losses = trainee.context_listener(x, batch)
    return {f"context/{name}": float(value) for name, value in losses.items()} | {
        "context/on the beat": on_the_beat(trainee.context_listener.read(x), batch.phase)
    }


def pretrain(
    trainee: nn.Module, examples: Examples, held: Examples, recipe: dict, out: Path, log: Log, autocast
) -> None:
    """Train ``trainee.decoder.context`` by the recipe's ``context_first``; done once for a run, resumable."""
    options, path = recipe["context_first"], out / "context.pt"
    decoder, frames = trainee.decoder, int(options["seconds"] * examples.rate)
    parts = nn.ModuleList([decoder.context, trainee.context_listener])
    optimizer = torch.optim.AdamW(
        parts.parameters(), lr=options["lr"], weight_decay=0.01, betas=(0.9, 0.95), fused=True
    )
    step, steps = 0, options["steps"]
    if state := load_state(path):
        parts.load_state_dict(state["parts"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    since = time.time()
    while step < steps:
        batch = mixes(examples, 10_000_000 + step, options["rows"], frames).to(decoder.device)
        for group in optimizer.param_groups:
            group["lr"] = options["lr"] * min(1.0, (step + 1) / 50, max(0.02, 2 * (1 - step / steps)))
        with autocast:
            losses = trainee.context_listener(decoder.enter(batch.sequence)[0], batch)
            total = sum(recipe["losses"][name] * value for name, value in losses.items())
        total.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        trainee.zero_grad(set_to_none=True)
        step += 1
        if step % 20 == 0:
            log.scalars(
                step, {f"pretrain/{n}": v for n, v in losses.items()} | {"pretrain/seconds": (time.time() - since) / 20}
            )
            since = time.time()
        if step % 200 == 0 or step == steps:
            trainee.eval()
            log.scalars(step, validate(trainee, held, frames))
            trainee.train()
            save_state(path, {"parts": parts.state_dict(), "optimizer": optimizer.state_dict(), "step": step})
