"""What the trainings of small networks share.

Features of a corpus' songs, computed once and kept (`prepare` writes them, `read_all` reads them), and the training of
one network (`NetworkTraining`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from stage import fingerprint
from stage.corpus.read import CorpusSong, songs
from stage.errors import StageError
from stage.progress import shown
from stage.training import song_fingerprints
from stage.training.embedded.loop import Training
from stage.training.embedded.recipe import ChordRecipe, Optimizer, TrackerRecipe
from stage.training.state import save_weights

Make = Callable[[CorpusSong, Any, torch.Generator], dict[str, Tensor]]
"""(song, the recipe's `data`, generator) -> what is kept of a song."""


def folder(out: Path, split: str) -> Path:
    """Where the features of a split are kept in a run's folder."""
    return out / "features" / split


def prepare(recipe: Any, corpus: Path, split: str, out: Path, make: Make) -> None:
    """Features of every song of a split, one file a song; those of the same song and recipe are kept.

    recipe: its `data` and `seed` count.
    """
    for index, song in shown(songs(corpus, split), f"features of the songs in {split}"):
        target = folder(out, split) / f"{song.folder.name}.safetensors"
        key = fingerprint.of_values([recipe.data, recipe.seed, song_fingerprints.folder(song.folder)])
        if song_fingerprints.is_made(target, key):
            continue
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + index)
        with song.checked():
            tensors = make(song, recipe.data, generator)
        save_weights(target, tensors, {"key": key})


def read_all(place: Path) -> list[dict[str, Tensor]]:
    """Everything that was prepared in a folder. Raises StageError where there is nothing, or a file is damaged."""
    files = []
    for path in sorted(place.glob("*.safetensors")):
        try:
            files.append(load_file(path))
        except (OSError, SafetensorError):
            raise StageError(f"{path} is damaged: delete it, and the next start makes it again") from None
    if not files:
        raise StageError(f"nothing in {place}: the training computes it from the corpus")
    return files


def adamw(network: nn.Module, options: Optimizer) -> torch.optim.AdamW:
    """AdamW that decays the matrices of a network alone."""
    matrices, rest = [], []
    for p in network.parameters():
        (matrices if p.ndim > 1 else rest).append(p)
    groups = [{"params": matrices, "weight_decay": options.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.lr, betas=options.betas)


class NetworkTraining(Training):
    """A training of one network by AdamW, whose weights are written in float16.

    weights: name of their file in `out`. Else as `Training`.
    """

    def __init__(
        self,
        recipe: ChordRecipe | TrackerRecipe,
        out: Path,
        minutes: float | None,
        device: torch.device,
        network: nn.Module,
        weights: str,
    ):
        self.device, self.weights = device, weights
        super().__init__(
            out,
            recipe.schedule.within(minutes),
            {"network": network},
            [adamw(network, recipe.optimizer)],
            recipe.optimizer.clip,
            recipe.log_every,
            recipe.save_every,
        )

    def write_weights(self) -> None:
        """The network's, in float16."""
        network = self.modules["network"]
        save_weights(self.out / self.weights, {name: value.half() for name, value in network.state_dict().items()})
