"""Training of the beat network for music without drums (`stage.beats.beattcn`), on songs whose beats are known.

Each step draws new mixes of stems, mostly without drums, treated like real recordings; a share of them are metronomes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from stage.beats.beattcn import BeatTcn
from stage.errors import StageError
from stage.training.embedded import loop
from stage.training.embedded.beat_examples import Examples
from stage.training.embedded.beat_views import prepare
from stage.training.embedded.loop import started
from stage.training.embedded.prepared import NetworkTraining
from stage.training.embedded.recipe import TrackerRecipe

WEIGHTS = "beattcn.safetensors"
VALIDATED = 8
"""Batches of held-out songs."""


def entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy against soft classes, mean over frames."""
    return -(classes * F.log_softmax(logits, -1)).sum(-1).mean()


def train(
    recipe: TrackerRecipe,
    corpus: Path,
    out: Path,
    minutes: float | None = None,
    device: str = "cpu",
    base: Path | None = None,
) -> Path:
    """Train the network; goes on with what it finds in ``out``. Returns the path of the weights.

    base: weights of an earlier run to start from. Raises StageError, and Stopped after a signal.
    """
    place = loop.device(device)
    with started(out, recipe):
        for split in ("heldout", "train"):
            prepare(corpus, split, out, recipe.data.clicks, recipe.seed)
        TrackerTraining(recipe, out, minutes, place, base).run()
    return out / WEIGHTS


def start_from(network: BeatTcn, base: Path) -> None:
    """Give the network the weights in a file; layers that the file lacks begin as if they were not there.

    Read too are those of the first network, with its convolutions as [out, in, 5] and another tenth layer, which is
    left out. Raises StageError where there are no weights, or they have another shape.
    """
    try:
        saved = {name: tensor.float() for name, tensor in load_file(base).items()}
    except (OSError, SafetensorError):
        raise StageError(f"no weights at {base}: the {WEIGHTS} of an earlier run is expected") from None
    if any(tensor.ndim == 3 for tensor in saved.values()):
        kept = {name: tensor for name, tensor in saved.items() if ".9." not in name}
        saved = {name: x.transpose(1, 2).flatten(1) if x.ndim == 3 else x for name, x in kept.items()}
    for name, own in network.state_dict().items():
        if name not in saved and name.count(".") == 2:  # of a layer
            saved[name] = torch.zeros_like(own) if name.startswith("mixers") else own
    try:
        network.load_state_dict(saved)
    except RuntimeError:
        raise StageError(f"{base} does not fit the recipe: it holds a network of another shape") from None


class TrackerTraining(NetworkTraining):
    """Steps of the beat network's training, on features that were computed before."""

    def __init__(
        self, recipe: TrackerRecipe, out: Path, minutes: float | None, device: torch.device, base: Path | None = None
    ):
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.network = BeatTcn(recipe.model.width, recipe.model.layers).to(device)
        if base is not None:
            start_from(self.network, base)
        self.examples = Examples(out / "spectra" / "train", recipe.data, recipe.seed)
        self.held = Examples(out / "spectra" / "heldout", recipe.data, 7)
        super().__init__(recipe, out, minutes, device, self.network, WEIGHTS)

    def loss(self) -> tuple[Tensor, dict[str, Any]]:
        """Cross-entropy on a batch."""
        batch = self.examples.batch(self.step, self.recipe.batch, self.recipe.frames)
        spectra, classes = (x.to(self.device) for x in batch)
        value = entropy(self.network(spectra, self.recipe.dropout), classes)
        return value, {"loss": value}

    def validate(self) -> dict[str, float]:
        """Loss on held-out songs."""
        return {"valid/loss": validate(self.network, self.held, self.recipe)}


@torch.inference_mode()
def validate(network: BeatTcn, held: Examples, recipe: TrackerRecipe) -> float:
    """Loss on mixes of held-out songs, the same at each call, by a network that is in evaluation mode."""
    place, losses = next(network.parameters()).device, []
    for number in range(VALIDATED):
        spectra, classes = (x.to(place) for x in held.batch(number, recipe.batch, recipe.frames))
        losses.append(float(entropy(network(spectra), classes)))
    return sum(losses) / len(losses)
