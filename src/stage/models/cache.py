"""Keys and values of the columns before: what the steps of a generation attend to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from stage.config import DecoderConfig
from stage.models.alike import separately

SHARED = 32
"""Columns from which on a prefix is kept once for all variations."""


class Cache:
    """Static key/value cache of one branch of the guidance.

    A long prefix stands once for all variations (``prefix``), and each variation has columns of its own (``own``), so
    that
    many variations of one context read it once a step.

    prefix: keys [layers, H, d, P], which products read faster so, and values [layers, H, P, d], or None.
    own: keys and values [layers, 2, V * H, capacity, d], which a step writes at once. rows: V.
    length: columns of ``own`` that are filled: an int, or after ``fix`` a 0-d int64 tensor on the device.
    text: keys and values [layers, 1, H, L, d] of the cross-attention, or None without text.
    moment: [1, P, D], what context encoder and features add to a column at each position, or None.
    """

    def __init__(self, config: DecoderConfig, columns: int, like: Tensor):
        self.own = like.new_empty(config.layers, 2, config.heads, columns, config.dim // config.heads)
        self.rows = 1
        self.prefix: tuple[Tensor, Tensor] | None = None
        self.length: int | Tensor = columns
        self.text: tuple[Tensor, Tensor] | None = None
        self.moment: Tensor | None = None

    def expand(self, rows: int, columns: int) -> Cache:
        """A cache for many continuations of this one row, with room for ``columns`` more."""
        new = object.__new__(Cache)
        new.text, new.moment, new.rows = self.text, self.moment, rows
        layers, _, heads, _, d = self.own.shape
        filled = self.own[:, :, :, : self.length]
        share = self.length >= SHARED
        new.prefix = (filled[:, 0].transpose(2, 3).contiguous(), filled[:, 1]) if share else None
        new.length = 0 if share else self.length
        new.own = self.own.new_empty(layers, 2, rows * heads, new.length + columns, d)
        if not share:
            new.own[:, :, :, : self.length] = filled.repeat(1, 1, rows, 1, 1)
        return new

    @torch.inference_mode()
    def fix(self) -> None:
        """From now on every step does the same to the same memory, so that ``models/fast_step.py`` can record it."""
        self.own[..., self.length :, :] = 0  # a step over the whole capacity multiplies what is masked by zero
        self.length = torch.tensor(self.length, device=self.own.device)

    @property
    def kind(self) -> tuple[bool | int, ...]:
        """Which parts there are, and the number of rows."""
        return self.prefix is not None, self.text is not None, self.moment is not None, self.rows

    def tensors(self) -> list[Tensor]:
        """Everything it holds but the length."""
        return [self.own, *(self.prefix or ()), *(self.text or ()), *(() if self.moment is None else (self.moment,))]

    @classmethod
    def of(cls, kind: tuple[bool | int, ...], length: Tensor, tensors: Iterator[Tensor]) -> Cache:
        """The cache of this ``kind`` with these ``tensors``, which are taken from an iterator."""
        new = object.__new__(cls)
        new.length, new.rows = length, kind[3]
        new.own = next(tensors)
        new.prefix, new.text = ((next(tensors), next(tensors)) if there else None for there in kind[:2])
        new.moment = next(tensors) if kind[2] else None
        return new

    @property
    def bytes(self) -> int:
        """Bytes that a step reads of it now."""
        read = self.own[..., : self.length, :].numel() + sum(part.numel() for part in self.prefix or ())
        return read * self.own.element_size()

    def layers(self) -> list[Memory]:
        """The keys and values of each layer, for one step."""
        fixed = isinstance(self.length, Tensor)
        at = self.length[None] if fixed else torch.tensor([self.length])
        # a step that is recorded looks at all of the capacity, so that it is always the same; one that is traced need
        # not
        whole = fixed and not torch.jit.is_tracing()
        masked = torch.arange(self.own.shape[3], device=self.own.device) > self.length if whole else None
        count = None if whole else self.length + 1
        parts = ([None] * len(self.own) if part is None else list(zip(*part)) for part in (self.prefix, self.text))
        return [Memory(own, prefix, text, self.rows, at, count, masked) for own, prefix, text in zip(self.own, *parts)]


class Memory(NamedTuple):
    """The keys and values of one layer of a branch, and where a step writes.

    own: keys and values [2, V * H, capacity, d]; prefix: keys [H, d, P] and values [H, P, d]; text: keys and values [1,
    H, L, d].
    rows: V. at: [1] int64, the column of ``own`` that a step writes. count: how many columns it then looks at; None:
    all but
    those that ``masked`` [capacity] names.
    """

    own: Tensor
    prefix: tuple[Tensor, Tensor] | None
    text: tuple[Tensor, Tensor] | None
    rows: int
    at: Tensor
    count: int | Tensor | None
    masked: Tensor | None

    def attend(self, qkv: Tensor, heads: int) -> Tensor:
        """Add one column and attend from it: queries (scaled), keys and values [V, 3 * H, d] -> [V, H, d].

        Plain products: for a single query they are faster on CPUs than the fused kernel.
        """
        rows, d = self.rows, qkv.shape[2]
        q, new = qkv.narrow(1, 0, heads), qkv.narrow(1, heads, 2 * heads)
        self.own.index_copy_(2, self.at, new.view(rows, 2, heads, 1, d).transpose(0, 1).reshape(2, rows * heads, 1, d))
        # a slice up to a tensor, and no ``narrow``, is what a trace does anew at every step
        own = self.own if self.count is None else self.own[:, :, : self.count]
        if not separately(own, rows):
            return self._look(q, own)
        each = range(rows)  # by the very calls that one alone takes (``models/alike.py``)
        return torch.cat([self._look(q.narrow(0, i, 1), own.narrow(1, i * heads, heads)) for i in each])

    def _look(self, q: Tensor, own: Tensor) -> Tensor:
        """Attention of the queries [n, H, d] of n variations to the prefix and to their own columns [2, n * H, c, d]:
        [n, H, d]."""
        rows, heads, d = q.shape
        keys, values = own.unbind()
        scores = torch.bmm(q.reshape(rows * heads, 1, d), keys.transpose(1, 2))
        if self.masked is not None:
            scores = scores.masked_fill(self.masked, -torch.inf)
        if self.prefix is None:
            return torch.bmm(scores.softmax(-1), values).view(rows, heads, d)
        prefix_keys, prefix_values = self.prefix
        columns = prefix_keys.shape[-1]
        shared = torch.bmm(q.transpose(0, 1), prefix_keys)  # [H, n, P]
        weights = torch.cat([shared.transpose(0, 1).reshape(rows * heads, 1, columns), scores], -1).softmax(-1)
        y = torch.bmm(weights[..., columns:], values).view(rows, heads, d)
        shared = weights[..., :columns].view(rows, heads, columns).transpose(0, 1)
        return y + torch.bmm(shared, prefix_values).transpose(0, 1)
