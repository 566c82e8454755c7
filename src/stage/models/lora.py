"""Adapters: another stem for a decoder whose weights stay as they are (LoRA, arXiv 2106.09685).

A linear layer W gets a detour of low rank: y = W x + (alpha / r) B A x. A is drawn and B is zero, so that a new adapter changes
nothing. The fused query, key and value matrix has one A and one B for all three. An adapter also owns what names its stem: its
separator's row in each embedding table, and its segment where the decoder has segments.

Several adapters stand on one decoder at once; that of the stem which is being played is active (``Adapters.select``).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import DecoderConfig
from ..errors import StageError
from .decoder import Decoder
from .precision import MATRICES

NEITHER = ("stems", "context_layers", "context_width")
"""Parts of a decoder's shape that an adapter does not depend on."""


@dataclass(frozen=True)
class LoraConfig:
    """What an adapter is.

    stem: what it plays. rank: r. alpha: the detour is scaled by alpha / rank. matrices: names of the layers' linear layers that
    have one. base: name of the model that it was made for.
    """

    name: str
    stem: str
    base: str = ""
    rank: int = 8
    alpha: float = 16.0
    matrices: tuple[str, ...] = ("qkv", "self_out", "up", "down")
    licence: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrices", tuple(self.matrices))
        if unknown := set(self.matrices) - set(MATRICES):
            raise ValueError(f"a layer has no {', '.join(sorted(unknown))}: its linear layers are {', '.join(MATRICES)}")
        if self.rank < 1:
            raise ValueError(f"a rank of {self.rank} is none: choose 1 or more")


class Lora(nn.Module):
    """The parameters of one adapter. down, up: for each matrix A [r, in] and B [out, r]."""

    def __init__(self, config: LoraConfig, shape: DecoderConfig):
        super().__init__()
        self.config, self.shape = config, shape
        self.scale = config.alpha / config.rank
        sizes = {"qkv": (1, 3), "self_out": (1, 1), "cross_q": (1, 1), "cross_kv": (1, 2), "cross_out": (1, 1)}
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for i in range(shape.layers):
            for name in config.matrices:
                if name in ("up", "down"):
                    wide = (shape.dim, shape.ffn_dim) if name == "up" else (shape.ffn_dim, shape.dim)
                else:
                    wide = tuple(n * shape.dim for n in sizes[name])
                self.down[f"{i}_{name}"] = nn.Parameter(torch.randn(config.rank, wide[0]) / math.sqrt(wide[0]))
                self.up[f"{i}_{name}"] = nn.Parameter(torch.zeros(wide[1], config.rank))
        self.separator = nn.Parameter(0.02 * torch.randn(shape.codebooks, shape.dim))
        if shape.restart:
            self.segment = nn.Parameter(0.3 * torch.randn(shape.dim))

    def fits(self, shape: DecoderConfig) -> None:
        """Raise StageError if a decoder of this shape is not what the adapter was made for."""
        own, other = (dataclasses.asdict(one) for one in (self.shape, shape))
        wrong = [f"{key} {other[key]}, not {own[key]}" for key in own if key not in NEITHER and own[key] != other[key]]
        if wrong:
            raise StageError(f"the adapter {self.config.name} is for {self.config.base or 'another model'}, and this one has {'; '.join(wrong)}")


class LoraLinear(nn.Module):
    """A linear layer of any precision with the detours of several adapters: [..., in] -> [..., out]."""

    def __init__(self, base: nn.Module, name: str, adapters: Adapters):
        super().__init__()
        self.base, self.name = base, name
        self.adapters = adapters

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out], with the detour of the adapter that is active."""
        y, lora = self.base(x), self.adapters.active
        if lora is None or self.name not in lora.down:
            return y
        return y + lora.scale * F.linear(F.linear(x, lora.down[self.name].to(x.dtype)), lora.up[self.name].to(x.dtype))


class Adapters:
    """The adapters of one decoder, after its own stems in the order in which they came."""

    def __init__(self, decoder: Decoder):
        self.own = decoder.config
        self.loras: dict[str, Lora] = {}
        self.active: Lora | None = None
        for i, layer in enumerate(decoder.layers):
            for name in MATRICES:
                setattr(layer, name, LoraLinear(getattr(layer, name), f"{i}_{name}", self))

    def select(self, stem: int) -> None:
        """Make the adapter of this stem the active one, or none for a stem of the decoder's own."""
        own = len(self.own.stems)
        self.active = None if stem < own else list(self.loras.values())[stem - own]

    def table(self, embed: Tensor) -> Tensor:
        """Embedding tables [K, R + adapters, D]: the adapters' separators follow the decoder's."""
        at = self.own.codebook_size + 1 + len(self.own.stems)
        new = torch.stack([lora.separator for lora in self.loras.values()], 1).to(embed.dtype)
        return torch.cat([embed[:, :at], new, embed[:, at:]], 1)

    def segments(self, segment: Tensor) -> Tensor:
        """Segments [stems + adapters + contexts, D]."""
        at = len(self.own.stems)
        new = torch.stack([lora.segment for lora in self.loras.values()]).to(segment.dtype)
        return torch.cat([segment[:at], new, segment[at:]])


def attach(decoder: Decoder, lora: Lora) -> str:
    """Put an adapter on a decoder; returns the name of its stem there, which is its own unless that is taken.

    The decoder's weights are not touched. Raises StageError if the adapter is for a decoder of another shape.
    """
    lora.fits(decoder.config)
    stem = lora.config.stem
    if stem in decoder.config.stems:
        stem = f"{stem}-{lora.config.name}"
    if stem in decoder.config.stems:
        raise StageError(f"the adapter {lora.config.name} is loaded already: its stem is {stem}")
    if decoder.adapters is None:
        decoder.adapters = Adapters(decoder)
    decoder.adapters.loras[stem] = lora.to(decoder.device)
    _renew(decoder)
    return stem


def detach(decoder: Decoder, stem: str) -> Lora:
    """Take an adapter off again; with the last one the decoder is as it was."""
    if decoder.adapters is None or stem not in decoder.adapters.loras:
        raise StageError(f"no adapter plays {stem} here")
    lora, decoder.adapters.active = decoder.adapters.loras.pop(stem), None
    _renew(decoder)
    return lora


def _renew(decoder: Decoder) -> None:
    adapters = decoder.adapters
    decoder.config = dataclasses.replace(adapters.own, stems=adapters.own.stems + tuple(adapters.loras))
    if not adapters.loras:
        for layer in decoder.layers:
            for name in MATRICES:
                setattr(layer, name, getattr(layer, name).base)
        decoder.adapters = None


@torch.no_grad()
def merge(decoder: Decoder, stem: str) -> Decoder:
    """A new decoder that plays this adapter's stem alone, its weights W + (alpha / r) B A.

    Raises StageError where the weights are packed: they can only be added to in float32 or bf16.
    """
    adapters = decoder.adapters
    if adapters is None or stem not in adapters.loras:
        raise StageError(f"no adapter plays {stem} here")
    lora, at = adapters.loras[stem], adapters.own.codebook_size + 1
    if decoder.predict is not None:
        raise StageError("packed weights cannot be merged: load the model with precision float32")
    state = {name.replace(".base.", "."): tensor.clone() for name, tensor in decoder.state_dict().items()}
    for name in lora.down:
        i, _, matrix = name.partition("_")
        state[f"layers.{i}.{matrix}.weight"] += (lora.scale * lora.up[name] @ lora.down[name]).to(decoder.embed.dtype)
    stems, embed = len(adapters.own.stems), state["embed"]
    state["embed"] = torch.cat([embed[:, :at], lora.separator[:, None].to(embed.dtype), embed[:, at + stems :]], 1)
    if "segment" in state:
        state["segment"] = torch.cat([lora.segment[None].to(embed.dtype), state["segment"][stems:]])
    with torch.device("meta"):
        made = Decoder(dataclasses.replace(adapters.own, stems=(lora.config.stem,)))
    made.load_state_dict(state, assign=True)
    return made.eval().requires_grad_(False)
