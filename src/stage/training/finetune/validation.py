"""Validation losses on held-out songs: the same examples each time, nothing dropped, nothing augmented."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

from stage.data.examples import CutOptions, Cutter
from stage.data.song import Song
from stage.errors import StageError
from stage.models.codec import Codec
from stage.models.text import TextEncoder
from stage.training.finetune import engine
from stage.training.finetune.batches import PLAIN, Cuts, collate, encode, flat, lay, read_text
from stage.training.finetune.recipe import Recipe

KINDS = ("mix", "click")


def plain(options: CutOptions, kind: str) -> CutOptions:
    """The recipe's examples for validation: this kind of context, whole, nothing dropped or changed."""
    return dataclasses.replace(options, click=1.0 if kind == "click" else 0.0, **PLAIN)


class Validation:
    """Validation loss for mix and click contexts, right and wrong ones, on examples that are cut and encoded once."""

    def __init__(
        self,
        songs: Sequence[Song],
        recipe: Recipe,
        codec: Codec,
        text: TextEncoder,
        fabric: Any,
        on_note: Callable[[str], None],
    ):
        self.recipe, self.text, self.fabric = recipe, text, fabric
        self.passes: dict[str, list] = {}
        size, world = max(2, recipe.batch.size), fabric.world_size  # a wrong context needs a neighbour
        count = -(-recipe.validation.examples // (size * world))
        for kind in KINDS if songs and recipe.validation.examples else ():
            try:
                cuts = Cuts(Cutter(songs, plain(recipe.examples, kind), recipe.seed + 1))
            except StageError as error:  # no beats for clicks, say
                on_note(f"no validation with {kind} contexts: {error}")
                continue
            numbers = ([(part * world + fabric.global_rank) * size + i for i in range(size)] for part in range(count))
            self.passes[kind] = [encode(collate([cuts[n] for n in many]), codec, fabric.device) for many in numbers]

    @torch.no_grad()
    def losses(self, model: Any, config: Any) -> dict[str, float]:
        """``valid/KIND`` and its codebooks, and ``gap/KIND``: how much worse the context of another example is. To be
        called by all processes."""
        model.eval()
        found: dict[str, float] = {}
        for kind, passes in self.passes.items():
            means = []
            for roll in (0, 1):
                parts = torch.stack([self._one(model, config, loaded, roll) for loaded in passes]).mean(0)
                means.append((engine.agree(self.fabric, parts) / self.fabric.world_size).tolist())
            right, wrong = (sum(one) / len(one) for one in means)
            found |= {f"valid/{kind}": right, f"gap/{kind}": wrong - right} | {
                f"valid/{kind}/codebook{k}": v for k, v in enumerate(means[0])
            }
        if self.passes:
            found["valid"] = sum(found[f"valid/{kind}"] for kind in self.passes) / len(self.passes)
        model.train()
        return found

    def _one(self, model: Any, config: Any, loaded: Any, roll: int) -> torch.Tensor:
        sequence = lay(config, loaded, roll).to(self.fabric.device)
        text = read_text(self.text, loaded.texts)
        return model(*flat(sequence), loaded.target.to(self.fabric.device), *text)[1]
