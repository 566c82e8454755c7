"""What is trained in a fine-tuning: a base made ready for its stems, the trained parameters, and the paper's loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from stage.checkpoints.importers.names import make_base
from stage.errors import StageError
from stage.models.decoder import Decoder, blank_text
from stage.models.described import described
from stage.models.lora import Adapter, Voice, new_adapter
from stage.pipeline import Stage
from stage.prefix import Row, loss
from stage.training.finetune.recipe import Recipe

PLACES = ("embed", "segment")
ATTENDING = ("self_norm.", "qkv.", "self_out.")
"""Parameters of "embeddings+attention": token and segment embeddings, each layer's self-attention and its norm."""


def prepare(base: Stage, stems: tuple[str, ...], seed: int) -> Stage:
    """The base as a model of exactly these stems, with a separator's row for each; everything else is shared with it.

    A stem that the base plays keeps its row; another one begins as the base's first stem. MusicGen itself, without
    stems, gets its rows as the paper draws them (``make_base``). Raises StageError for no stem, or one that is named
    twice.
    """
    if not stems or len(set(stems)) != len(stems):
        raise StageError(f"examples.stems names each target stem once, not {', '.join(stems) or 'none'}")
    if base.events is not None:
        raise StageError(
            f'"{base.config.name}" plays events, and a fine-tuning learns from sound: fine-tune sketch or a model of'
            " MusicGen's kind; stage train player trains models of events"
        )
    decoder, old = base.decoder, base.decoder.config
    if old.stems == stems:
        return base
    weights = {name: tensor.detach() for name, tensor in decoder.state_dict().items()}
    if not old.stems:
        config = replace(old, stems=stems, contexts=("mix",))
        weights["embed"] = make_base(weights["embed"][:, : old.codebook_size + 1], config, seed)
    else:
        config = replace(old, stems=stems)
        rows = [old.stems.index(stem) if stem in old.stems else 0 for stem in stems]

        def own_rows(table: Tensor, first: int) -> Tensor:
            parts = (
                table[..., :first, :],
                table[..., [first + row for row in rows], :],
                table[..., first + len(old.stems) :, :],
            )
            return torch.cat(parts, dim=-2)

        weights["embed"] = own_rows(weights["embed"], old.separator(0))
        if old.restart:
            weights["segment"] = own_rows(weights["segment"], 0)
    with described():
        grown = Decoder(config)
    grown.load_state_dict(weights, assign=True)
    return Stage(grown.eval(), base.codec, base.text, base.config)


class Trainable(nn.Module):
    """A decoder and those of its parameters that are trained. ``forward`` is one pass of training; wrappers (DDP, FSDP)
    go around it.

    adapter: what is trained in place of the decoder, else None.
    """

    def __init__(self, stage: Stage, recipe: Recipe, base_name: str):
        super().__init__()
        self.checkpointing = recipe.engine.activation_checkpointing
        self.adapter: Adapter | None = None
        learn = recipe.learn
        if learn.parameters == "lora":
            if not stage.decoder.config.stems:
                raise StageError(
                    "MusicGen itself takes no context, and an adapter cannot add one: convert it with --stem, or train"
                    " all parameters"
                )
            made = new_adapter(
                stage.decoder,
                recipe.stems[0],
                recipe.name or recipe.stems[0],
                base_name,
                learn.like,
                learn.rank,
                learn.alpha,
                learn.layers,
                stage.config.licence if recipe.licence is None else recipe.licence,
                recipe.seed,
            )
            decoder: Decoder = Voice(stage.decoder, made)
            self.adapter = made
        else:
            decoder = stage.decoder
            for name, parameter in decoder.named_parameters():
                attends = name.startswith("layers.") and name.split(".", 2)[2].startswith(ATTENDING)
                parameter.requires_grad_(learn.parameters == "all" or name in PLACES or attends)
        weights = recipe.codebook_weights or (1.0,) * decoder.config.codebooks
        if len(weights) != decoder.config.codebooks or sum(weights) <= 0:
            raise StageError(
                f"codebook_weights are {decoder.config.codebooks} numbers above 0, one for each codebook of the base"
            )
        self.decoder = decoder
        self.register_buffer("levels", torch.tensor(weights) / sum(weights), persistent=False)
        if self.checkpointing:
            for layer in decoder.layers:
                layer.forward = checkpointed(layer.forward)
        if recipe.engine.compile:
            for layer in decoder.layers:
                layer.compile(dynamic=True)

    def forward(
        self,
        columns: Tensor,
        attend: Tensor,
        positions: Tensor,
        segments: Tensor,
        first: int,
        frames: int,
        target: Tensor,
        text: Tensor,
        text_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(loss to minimise, 0-d; cross-entropy of each codebook [K], detached).

        The first six make a ``Row``: wrappers of modules hand on plain values. target: codes [B, K, T] int64. text:
        embeddings [B, L, text_dim] and mask [B, L] bool, False everywhere for a row without text.
        """
        sequence = Row(columns, attend, positions, segments, first, frames)
        projected, mask = blank_text(self.decoder.text_projection(text), text_mask)
        hidden = self.decoder(sequence, projected, mask)
        logits, valid = self.decoder.target_logits(hidden, sequence)
        parts = loss(logits, target, valid)
        total = (parts * self.levels).sum()
        # unused in a batch without contexts, but all processes must reduce the same gradients
        if self.decoder.config.context_layers and self.adapter is None:
            total = total + 0.0 * sum(parameter.sum() for parameter in self.decoder.context.parameters())
        return total, parts.detach()

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name; an adapter's by the adapter's own names."""
        module = self.decoder if self.adapter is None else self.adapter
        return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}

    @torch.no_grad()
    def hold_padding(self, gradient: bool) -> None:
        """Keep the padding token's row of every embedding table zero, as the paper has it: its gradient before a step,
        itself after."""
        if self.adapter is None:
            table = self.decoder.embed.grad if gradient else self.decoder.embed
            if table is not None and self.decoder.config.stems:
                local(table)[:, self.decoder.config.pad] = 0


def checkpointed(forward):
    """A layer's forward that keeps its input alone and is computed again in the backward pass."""
    from torch.utils.checkpoint import checkpoint

    def run(*args):
        return checkpoint(forward, *args, use_reentrant=False) if torch.is_grad_enabled() else forward(*args)

    return run


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds: itself, or its shard along dimension 0."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


@torch.no_grad()
def clip(parameters: Iterable[nn.Parameter], value: float | None) -> None:
    """Cut each gradient to -value..value, shard by shard."""
    if value is not None:
        for parameter in parameters:
            if parameter.grad is not None:
                local(parameter.grad).clamp_(-value, value)


class Average:
    """Exponential moving average (EMA) of the trained parameters, float32. share: of the old value that each step
    keeps."""

    def __init__(self, trained: dict[str, nn.Parameter], share: float):
        self.share, self.trained = share, trained
        self.values = {name: parameter.detach().clone() for name, parameter in trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights after a step."""
        for name, parameter in self.trained.items():
            local(self.values[name]).lerp_(local(parameter.detach()), 1 - self.share)

    @torch.no_grad()
    def swap(self) -> None:
        """Put the average into the model and the weights here, or back."""
        for name, parameter in self.trained.items():
            ours, theirs = local(self.values[name]), local(parameter.data)
            held = theirs.clone()
            theirs.copy_(ours)
            ours.copy_(held)
