"""Keys and values that attention looks back at: what the steps of a generation remember."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import DecoderConfig

SHARED = 32
"""Columns from which on a prefix is kept once for all variations."""


class Cache:
    """Static key/value cache of one branch of the guidance.

    A long prefix stands once for all variations (``prefix``), and each variation has columns of its own (``own``), so that
    many variations of one context read it once a step.

    prefix: keys [layers, H, d, P], which products read faster so, and values [layers, H, P, d], or None. own: keys and values [layers, V, H, capacity, d].
    length: columns of ``own`` that are filled: an int, or after ``fix`` a 0-d int64 tensor on the device.
    text: keys and values [layers, 1, H, L, d] of the cross-attention, or None without text.
    moment: [1, P, D], what the context encoder adds to a column at each position, or None.
    """

    def __init__(self, config: DecoderConfig, columns: int, like: Tensor):
        shape = (config.layers, 1, config.heads, columns, config.dim // config.heads)
        self.own = (like.new_empty(shape), like.new_empty(shape))
        self.prefix: tuple[Tensor, Tensor] | None = None
        self.length: int | Tensor = columns
        self.text: tuple[Tensor, Tensor] | None = None
        self.moment: Tensor | None = None

    def expand(self, rows: int, columns: int) -> Cache:
        """A cache for many continuations of this one row, with room for ``columns`` more."""
        new = object.__new__(Cache)
        new.text, new.moment = self.text, self.moment
        layers, _, heads, _, d = self.own[0].shape
        share = self.length >= SHARED
        keys, values = (part[:, 0, :, : self.length] for part in self.own)
        new.prefix = (keys.transpose(2, 3).contiguous(), values) if share else None
        new.length = 0 if share else self.length
        # zeros, not empty memory: a step over the whole capacity multiplies what is masked by zero
        new.own = tuple(part.new_zeros(layers, rows, heads, new.length + columns, d) for part in self.own)
        if not share:
            for part, old in zip(new.own, self.own):
                part[:, :, :, : self.length] = old[:, :, :, : self.length]
        return new

    def fix(self) -> None:
        """From now on every step does the same to the same memory, so that it can be recorded (``models/graph.py``)."""
        self.length = torch.tensor(self.length, device=self.own[0].device)

    @property
    def kind(self) -> tuple[bool, ...]:
        """Which parts there are."""
        return self.prefix is not None, self.text is not None, self.moment is not None

    def tensors(self) -> list[Tensor]:
        """Everything it holds but the length."""
        return [*self.own, *(self.prefix or ()), *(self.text or ()), *(() if self.moment is None else (self.moment,))]

    @classmethod
    def of(cls, kind: tuple[bool, ...], length: Tensor, tensors: Iterator[Tensor]) -> Cache:
        """The cache of this ``kind`` with these ``tensors``, which are taken from an iterator."""
        new = object.__new__(cls)
        new.length = length
        new.own, new.prefix, new.text = ((next(tensors), next(tensors)) if there else None for there in (True, *kind[:2]))
        new.moment = next(tensors) if kind[2] else None
        return new

    @property
    def bytes(self) -> int:
        """Bytes that a step reads of it now."""
        read = sum(part[..., : self.length, :].numel() for part in self.own)
        return (read + sum(part.numel() for part in self.prefix or ())) * self.own[0].element_size()

    def layer(self, layer: int) -> Memory:
        """What one layer remembers."""
        own, prefix, text = (None if part is None else (part[0][layer], part[1][layer]) for part in (self.own, self.prefix, self.text))
        return Memory(prefix, own, text, self.length)


class Memory(NamedTuple):
    """What one layer of a branch remembers, as in ``Cache``: prefix keys [H, d, P] and values [H, P, d], own keys and values [V, H, capacity, d]."""

    prefix: tuple[Tensor, Tensor] | None
    own: tuple[Tensor, Tensor]
    text: tuple[Tensor, Tensor] | None
    length: int | Tensor

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Add one column and look back from it: q (scaled), k, v [V, H, d] -> [V, H, d].

        Plain products: for a single query they are faster on CPUs than the fused kernel.
        """
        keys, values = self._add(k, v)
        scores = torch.matmul(q[:, :, None], keys.transpose(2, 3))[:, :, 0]
        if self._whole:
            scores = scores.masked_fill(torch.arange(keys.shape[2], device=q.device) > self.length, -torch.inf)
        if self.prefix is None:
            return torch.matmul(scores.softmax(-1)[:, :, None], values)[:, :, 0]
        before, heard = self.prefix
        shared = torch.matmul(q.transpose(0, 1).contiguous(), before)  # [H, V, P]
        weights = torch.cat([shared.transpose(0, 1), scores], -1).softmax(-1)
        columns = before.shape[-1]
        y = torch.matmul(weights[:, :, None, columns:], values)[:, :, 0]
        return y + torch.matmul(weights[..., :columns].transpose(0, 1), heard).transpose(0, 1)

    @property
    def _whole(self) -> bool:
        """Whether a step looks at all of the capacity, so that it is always the same: a recorded step, but not one that is traced."""
        return isinstance(self.length, Tensor) and not torch.jit.is_tracing()

    def _add(self, k: Tensor, v: Tensor) -> list[Tensor]:
        """Write a column; returns the keys and values to look back at."""
        if isinstance(self.length, Tensor):
            whole = [part.index_copy_(2, self.length[None], new[:, :, None]) for part, new in zip(self.own, (k, v))]
            # a slice up to a tensor, and no ``narrow``, is what a trace does anew at every step
            return whole if self._whole else [part[:, :, : self.length + 1] for part in whole]
        for part, new in zip(self.own, (k, v)):
            part.select(2, self.length).copy_(new)
        return [part.narrow(2, 0, self.length + 1) for part in self.own]
