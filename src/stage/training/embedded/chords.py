"""Training of the chord network (`stage.chords.network`), on songs whose chords are known.

Each song gives several versions (`stage.training.embedded.chord_views`). Their features are computed once and kept;
what is drawn anew in each batch is the key, the stretch of the song and the balance of the octaves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stage.chords.network import NOTES, ChordNetwork
from stage.training.embedded import loop
from stage.training.embedded.augment import uniform
from stage.training.embedded.chord_views import SILENT, views
from stage.training.embedded.loop import started
from stage.training.embedded.prepared import NetworkTraining, folder, prepare, read_all
from stage.training.embedded.recipe import ChordRecipe

WEIGHTS = "chords.safetensors"
HELD_ROWS, HELD_BEATS = 128, 20
"""Of validation: about ten seconds each."""


def train(recipe: ChordRecipe, corpus: Path, out: Path, minutes: float | None = None, device: str = "cpu") -> Path:
    """Train the network; goes on with what it finds in ``out``. Returns the path of the weights.

    Raises StageError, and Stopped after a signal.
    """
    place = loop.device(device)
    with started(out, recipe):
        for split in ("heldout", "train"):
            prepare(recipe, corpus, split, out, views)
        ChordTraining(recipe, out, minutes, place).run()
    return out / WEIGHTS


class Views:
    """Everything that was prepared in a folder, in memory; batch n depends on the seed and n alone."""

    def __init__(self, place: Path, seed: int, tilt: float = 0.0):
        self.views = []
        for file in read_all(place):
            count = len({name.partition(".")[2] for name in file})
            names = ("notes", "levels", "fits", "classes", "shares")
            self.views += [[file[f"{name}.{index}"] for name in names] for index in range(count)]
        self.seed, self.tilt = seed, tilt
        self.longest = max(len(notes) for notes, *_ in self.views)

    def batch(self, number: int, size: int, beats: tuple[int, int]) -> list[Tensor]:
        """notes [size, T, 3, 88], levels [size, T, 2] and fits [size, T, S] float32; classes [size, T, 2] int64 and
        their shares float32. Songs with fewer beats than are drawn are left out."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        length = min(self.longest, int(torch.randint(beats[0], beats[1] + 1, (1,), generator=generator)))
        views = [view for view in self.views if len(view[0]) >= length]
        rows = []
        for index in torch.randint(len(views), (size,), generator=generator).tolist():
            view = views[index]
            start = int(torch.randint(len(view[0]) - length + 1, (1,), generator=generator))
            notes, levels, fits, classes, shares = (x[start : start + length] for x in view)
            key = int(torch.randint(-5, 7, (1,), generator=generator))
            notes = transposed(notes.float(), key) * balance(self.tilt, generator)
            fits = torch.cat([fits[:, :-1].unflatten(1, (-1, 12)).roll(key, -1).flatten(1), fits[:, -1:]], dim=1)
            rows.append((notes, levels.float(), fits.float(), turned(classes.long(), key), shares.float()))
        return [torch.stack(parts) for parts in zip(*rows)]


def transposed(notes: Tensor, key: int) -> Tensor:
    """Notes [..., 88] of both registers, higher by `key` semitones; what passes the ends is lost."""
    parts = notes.split([NOTES, notes.shape[-1] - NOTES], dim=-1)
    return torch.cat([torch.nn.functional.pad(part, (key, -key)) for part in parts], dim=-1)


def turned(classes: Tensor, key: int) -> Tensor:
    """Classes with their roots higher by `key` semitones; "no chord" stays."""
    silent = classes == classes.new_tensor(SILENT)
    return torch.where(silent, classes, classes // 12 * 12 + (classes + key) % 12)


def balance(tilt: float, generator: torch.Generator) -> Tensor:
    """Factors of the 88 notes, smooth within each register: 2 ** -tilt..tilt."""
    parts = []
    for size, points in ((NOTES, 5), (88 - NOTES, 3)):
        drawn = uniform(generator, -tilt, tilt, 1, 1, points)
        parts.append(2 ** torch.nn.functional.interpolate(drawn, size=size, mode="linear", align_corners=True)[0, 0])
    return torch.cat(parts)


def entropy(logits: Tensor, classes: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy against the chords of each beat by their shares of it, mean over beats."""
    picked = logits.log_softmax(-1).gather(-1, classes)
    return -(picked * shares).sum(-1).mean()


class ChordTraining(NetworkTraining):
    """Steps of the chord network's training, on features that were computed before."""

    def __init__(self, recipe: ChordRecipe, out: Path, minutes: float | None, device: torch.device):
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.network = ChordNetwork(recipe.width).to(device)
        self.views = Views(folder(out, "train"), recipe.seed, recipe.tilt)
        self.held = Views(folder(out, "heldout"), 7)
        super().__init__(recipe, out, minutes, device, self.network, WEIGHTS)

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """Cross-entropy on a batch."""
        batch = self.views.batch(self.step, self.recipe.batch, self.recipe.beats)
        *given, classes, shares = (x.to(self.device) for x in batch)
        value = entropy(self.network(*given, self.recipe.dropout), classes, shares)
        return value, {"loss": value}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Cross-entropy, and the share of beats whose root, and whose chord, is right, on held-out songs."""
        batch = self.held.batch(0, HELD_ROWS, (HELD_BEATS, HELD_BEATS))
        *given, classes, shares = (x.to(self.device) for x in batch)
        logits = self.network(*given)
        found, true = logits.argmax(-1), classes[..., 0]
        root = (found % 12 == true % 12) & ((found == SILENT) == (true == SILENT))
        return {
            "valid/loss": float(entropy(logits, classes, shares)),
            "valid/root": float(root.float().mean()),
            "valid/chord": float((found == true).float().mean()),
        }
