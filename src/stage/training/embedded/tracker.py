"""Training of the beat network for music without drums (`stage.beats.beattcn`), on songs whose beats are known.

Each song gives one or more versions: random subsets of its stems, mostly without drums, treated like a real recording;
a share of them are metronomes. The features are computed once and kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from stage import fingerprint
from stage.audio.files import resample
from stage.beats.beatnet import FRAME_RATE, RATE, features
from stage.beats.beattcn import BeatTcn
from stage.beats.grid import BeatGrid, click_track
from stage.beats.tracker import PEAK
from stage.corpus.read import CorpusSong, songs
from stage.errors import StageError
from stage.training import song_fingerprints
from stage.training.embedded import loop
from stage.training.embedded.augment import add_noise, add_room, random_eq, uniform
from stage.training.embedded.loop import Training, started
from stage.training.embedded.recipe import TrackerData, TrackerRecipe
from stage.training.state import save_weights

BEAT, DOWNBEAT, NEITHER = range(3)
WEIGHTS = "beattcn.safetensors"


def version(song: CorpusSong, options: TrackerData, generator: torch.Generator) -> tuple[np.ndarray, BeatGrid]:
    """One version of a song, mono float32 [N] at 22,050 Hz, and its beats."""

    def draw() -> float:
        return float(torch.rand(1, generator=generator))

    grid = BeatGrid(song.beats, song.numbers)
    if draw() < options.clicks:
        bpm, start = float(uniform(generator, 60, 200, 1)), float(uniform(generator, 0, 0.6, 1))
        grid = BeatGrid.regular(bpm, int(torch.randint(2, 5, (1,), generator=generator)), song.seconds, start)
        audio = click_track(grid, song.seconds, RATE, accents=draw() < 0.7)
    else:
        names = [name for name in song.stems if name != "drums" or draw() < options.drums] or list(song.stems)
        kept = [name for name in names if draw() < options.keep] or names
        audio = resample(song.mix(tuple(kept)), song.rate, RATE)
    sound = random_eq(torch.from_numpy(audio)[None], generator, options.eq_db, RATE)
    if draw() < options.room:
        sound = add_room(sound, generator, RATE)
    if draw() < options.noise:
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


def prepare(recipe: TrackerRecipe, corpus: Path, split: str, out: Path, worker: int = 0, workers: int = 1) -> int:
    """Features of every song of a split into ``out/features/<split>``; those of the same song and recipe are kept.

    One file a song: features [views, T, 272] float16 and classes [views, T, 3]. Returns how many songs there are.
    """
    place = out / "features" / split
    found = songs(corpus, split)
    for index, song in enumerate(found):
        target = place / f"{song.folder.name}.safetensors"
        key = fingerprint.of_values([recipe.data, recipe.seed, song_fingerprints.folder(song.folder)])
        if index % workers != worker or song_fingerprints.is_made(target, key):
            continue
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + index)
        views, classes = [], []
        with song.checked():
            for _ in range(recipe.data.views):
                audio, grid = version(song, recipe.data, generator)
                views.append(features(audio * (PEAK / max(float(np.abs(audio).max()), 1e-4))))
                classes.append(labels(grid, len(views[-1])))
        tensors = {"features": torch.from_numpy(np.stack(views)).half(), "classes": torch.stack(classes)}
        save_weights(target, tensors, {"key": key})
    return len(found)


class Views:
    """Everything that was prepared in a folder, in memory; batch n depends on the seed and n alone."""

    def __init__(self, folder: Path, seed: int, stretch: float = 0.0):
        """Raises StageError where there is nothing, or a file is damaged."""
        self.files = []
        for path in sorted(folder.glob("*.safetensors")):
            try:
                self.files.append(load_file(path))
            except (OSError, SafetensorError):
                raise StageError(f"{path} is damaged: delete it, and the next start makes it again") from None
        if not self.files:
            raise StageError(f"no features in {folder}: stage train tracker computes them from the corpus")
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


def train(recipe: TrackerRecipe, corpus: Path, out: Path, minutes: float | None = None, device: str = "cpu") -> Path:
    """Train the network; goes on with what it finds in ``out``. Returns the path of the weights.

    Raises StageError, and Stopped after a signal.
    """
    place = loop.device(device)
    with started(out, recipe):
        for split in ("heldout", "train"):
            prepare(recipe, corpus, split, out)
        TrackerTraining(recipe, out, minutes, place).run()
    return out / WEIGHTS


class TrackerTraining(Training):
    """Steps of the beat network's training, on features that were computed before."""

    def __init__(self, recipe: TrackerRecipe, out: Path, minutes: float | None, device: torch.device):
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, device
        self.network = BeatTcn(recipe.model.width, recipe.model.layers).to(device)
        matrices, rest = [], []
        for p in self.network.parameters():
            (matrices if p.ndim > 1 else rest).append(p)
        options = recipe.optimizer
        groups = [{"params": matrices, "weight_decay": options.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        self.views = Views(out / "features" / "train", recipe.seed, recipe.stretch)
        self.held = Views(out / "features" / "heldout", 7)
        super().__init__(
            out,
            recipe.schedule.within(minutes),
            {"network": self.network},
            [torch.optim.AdamW(groups, lr=options.lr, betas=options.betas)],
            options.clip,
            recipe.log_every,
            recipe.save_every,
        )

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """Cross-entropy on a batch."""
        batch = self.views.batch(self.step, self.recipe.batch, self.recipe.frames)
        spectra, classes = (x.to(self.device) for x in batch)
        value = entropy(self.network(spectra, self.recipe.dropout), classes)
        return value, {"loss": value}

    def validate(self) -> dict[str, float]:
        """Loss on held-out songs."""
        return {"valid/loss": validate(self.network, self.held, self.recipe.frames)}

    def write_weights(self) -> None:
        """beattcn.safetensors, in float16."""
        save_weights(self.out / WEIGHTS, {name: value.half() for name, value in self.network.state_dict().items()})


@torch.inference_mode()
def validate(network: BeatTcn, held: Views, frames: int) -> float:
    """Loss on held-out songs, by a network that is in evaluation mode."""
    spectra, classes = held.batch(0, 32, frames)
    return float(entropy(network(spectra.to(next(network.parameters()).device)).cpu(), classes))
