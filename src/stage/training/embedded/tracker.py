"""Training of the beat network for music without drums (`stage.beats.beattcn`), on songs whose beats are known.

Each song is heard as one or more random subsets of its stems, mostly without drums, treated like a real recording; a
share of what is heard are metronomes. The features are computed once and kept.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from stage.audio.files import resample
from stage.beats.beatnet import FRAME_RATE, RATE, features
from stage.beats.beattcn import BeatTcn
from stage.beats.grid import BeatGrid, click_track
from stage.beats.tracker import PEAK
from stage.corpus.read import CorpusSong, songs
from stage.training.embedded.augment import add_noise, add_room, random_eq, uniform
from stage.training.embedded.loop import Log, Schedule, load_state, save_state

BEAT, DOWNBEAT, NEITHER = range(3)


def heard(song: CorpusSong, options: dict, generator: torch.Generator) -> tuple[np.ndarray, BeatGrid]:
    """One thing to hear, mono float32 [N] at 22,050 Hz, and its beats."""

    def draw() -> float:
        return float(torch.rand(1, generator=generator))

    grid = BeatGrid(song.beats, song.numbers)
    if draw() < options["clicks"]:
        bpm, start = float(uniform(generator, 60, 200, 1)), float(uniform(generator, 0, 0.6, 1))
        grid = BeatGrid.regular(bpm, int(torch.randint(2, 5, (1,), generator=generator)), song.seconds, start)
        audio = click_track(grid, song.seconds, RATE, accents=draw() < 0.7)
    else:
        names = [name for name in song.stems if name != "drums" or draw() < options["drums"]] or list(song.stems)
        kept = [name for name in names if draw() < options["keep"]] or names
        audio = resample(song.mix(tuple(kept)), song.rate, RATE)
    sound = random_eq(torch.from_numpy(audio)[None], generator, options["eq_db"], RATE)
    if draw() < options["room"]:
        sound = add_room(sound, generator, RATE)
    if draw() < options["noise"]:
        sound = add_noise(sound, generator, -70, -40)
    return sound[0].numpy(), grid


def labels(grid: BeatGrid, frames: int) -> Tensor:
    """Soft classes [frames, 3] float32: a beat fills its frame and half of its neighbours."""
    result = torch.zeros(frames, 3)
    for time_, number in zip(grid.times, grid.numbers):
        kind, at = DOWNBEAT if number == 1 else BEAT, round(float(time_) * FRAME_RATE)
        for frame, weight in ((at - 1, 0.5), (at, 1.0), (at + 1, 0.5)):
            if 0 <= frame < frames:
                result[frame, kind] = max(float(result[frame, kind]), weight)
    result[:, NEITHER] = (1 - result[:, :2].sum(1)).clamp(min=0)
    return result / result.sum(1, keepdim=True)


def prepare(recipe: dict, corpus: Path, split: str, out: Path, worker: int = 0, workers: int = 1) -> int:
    """Features of every song of a split into ``out/features/<split>``; finished ones are skipped.

    One file a song: features [views, T, 272] float16 and classes [views, T, 3]. Returns how many songs there are.
    """
    folder = out / "features" / split
    folder.mkdir(parents=True, exist_ok=True)
    found = songs(corpus, split)
    for index, song in enumerate(found):
        target = folder / f"{song.folder.name}.safetensors"
        if index % workers != worker or target.exists():
            continue
        generator = torch.Generator().manual_seed(recipe["seed"] * 1_000_003 + index)
        views, classes = [], []
        for _ in range(recipe["data"]["views"]):
            audio, grid = heard(song, recipe["data"], generator)
            views.append(features(audio * (PEAK / max(float(np.abs(audio).max()), 1e-4))))
            classes.append(labels(grid, len(views[-1])))
        partial = target.with_suffix(".partial")
        save_file({"features": torch.from_numpy(np.stack(views)).half(), "classes": torch.stack(classes)}, partial)
        os.replace(partial, target)
    return len(found)


class Views:
    """Everything that was prepared, in memory; batch n depends on the seed and n alone."""

    def __init__(self, folder: Path, seed: int, stretch: float = 0.0):
        self.files = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
        self.seed, self.stretch = seed, stretch

    def batch(self, number: int, size: int, frames: int) -> tuple[Tensor, Tensor]:
        """features [size, frames, 272] float32 and classes [size, frames, 3]."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        parts = []
        for index in torch.randint(len(self.files), (size,), generator=generator).tolist():
            file = self.files[index]
            view = int(torch.randint(len(file["features"]), (1,), generator=generator))
            # faster or slower: the same frames over another time
            length = round(frames * float(uniform(generator, 1 - self.stretch, 1 + self.stretch, 1)))
            start = int(torch.randint(max(1, file["features"].shape[1] - length), (1,), generator=generator))
            cut = (file[name][view, start : start + length].float() for name in ("features", "classes"))
            parts.append([F.interpolate(x.T[None], size=frames, mode="linear")[0].T for x in cut])
        gain = 10 ** uniform(generator, -0.3, 0.3, size, 1, 1)  # another loudness; the features are nearly linear
        return torch.stack([p[0] for p in parts]) * gain, torch.stack([p[1] for p in parts])


def entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy against soft classes, mean over frames."""
    return -(classes * F.log_softmax(logits, -1)).sum(-1).mean()


def train(recipe: dict, corpus: Path, out: Path, minutes: float | None = None, device: str = "cpu") -> Path:
    """Train the network by ``recipe``; resumes what it finds in ``out``. Returns the path of the weights."""
    for split in ("heldout", "train"):
        prepare(recipe, corpus, split, out)
    torch.manual_seed(recipe["seed"])
    network = BeatTcn(**recipe["model"]).to(device)
    matrices, rest = [], []
    for p in network.parameters():
        (matrices if p.ndim > 1 else rest).append(p)
    options = recipe["optimizer"]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": options["weight_decay"]}, {"params": rest, "weight_decay": 0.0}],
        lr=options["lr"],
    )
    views, held = (
        Views(out / "features" / "train", recipe["seed"], recipe["stretch"]),
        Views(out / "features" / "heldout", 7),
    )
    schedule, log, step, spent = Schedule(minutes=minutes, **recipe["schedule"]), Log(out), 0, 0.0
    if state := load_state(out / "state.pt"):
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    clock = time.time() - spent

    def checkpoint() -> None:
        save_state(
            out / "state.pt",
            {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "spent": time.time() - clock,
            },
        )
        save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, out / "beattcn.safetensors")

    while schedule.progress(step, time.time() - clock) < 1:
        heard_, classes = (x.to(device) for x in views.batch(step, recipe["batch"], recipe["frames"]))
        value = entropy(network(heard_, recipe["dropout"]), classes)
        for group in optimizer.param_groups:
            group["lr"] = options["lr"] * schedule.factor(step, time.time() - clock)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), options["clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % recipe["log_every"] == 0:
            log.scalars(step, {"loss": value})
        if step % recipe["save_every"] == 0:
            log.scalars(step, {"valid/loss": validate(network, held, recipe)})
            checkpoint()
    log.scalars(step, {"valid/loss": validate(network, held, recipe)})
    checkpoint()
    return out / "beattcn.safetensors"


@torch.inference_mode()
def validate(network: BeatTcn, held: Views, recipe: dict) -> float:
    """Loss on held-out songs."""
    network.eval()
    features_, classes = held.batch(0, 32, recipe["frames"])
    value = float(entropy(network(features_.to(next(network.parameters()).device)).cpu(), classes))
    network.train()
    return value
