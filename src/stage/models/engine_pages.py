"""What the engine's columns attend to: keys and values in pages, of which variations share those of their prefix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stage.config import DecoderConfig
from stage.models.engine_request import Request

ALIGNED = 64
"""Bytes that the addresses of pages are multiples of."""


class Pages:
    """The caches of a generation in blocks of columns, and which of them each head of each variation has.

    All variations of a branch have the blocks that its prefix fills in common; from there on each has its own. The
    blocks of a head lie one behind the other. Inputs are those of ``engine_graph.decoder_graph``.
    """

    def __init__(self, request: Request, config: DecoderConfig, lengths: Sequence[int], rows: int, steps: int):
        """lengths: columns of each branch's prefix. rows: variations. steps: columns that follow, at most."""
        self.lengths, self.rows, self.heads = np.array(lengths, np.int32), rows, config.heads
        *_, self.size, d = request.shape("value_cache.0")
        self.blocks: list[np.ndarray] = []  # of each branch [V, H, n] int32
        count = 0
        for length in lengths:
            full, own = length // self.size, -(-(length % self.size + steps) // self.size)
            shared = np.arange(config.heads * full, dtype=np.int32).reshape(1, config.heads, full)
            rest = np.arange(rows * config.heads * own, dtype=np.int32).reshape(rows, config.heads, own)
            parts = [count + shared.repeat(rows, 0), count + shared.size + rest]
            self.blocks.append(np.concatenate(parts, 2))
            count += shared.size + rest.size
        # in one piece, which the system may lay out in huge pages
        self.caches = _zeros((2 * config.layers, count, 1, self.size, d), request.dtype("value_cache.0"))
        for i in range(config.layers):
            request.give(f"key_cache.{i}", self.caches[2 * i])
            request.give(f"value_cache.{i}", self.caches[2 * i + 1])

    def prefill(self, branch: int) -> dict[str, np.ndarray]:
        """Inputs for the prefix of a branch: that of its first variation."""
        length = self.lengths[branch]
        return self._places([self.blocks[branch][:1]], length) | self._lengths(np.zeros(1, np.int32), length)

    def part(self) -> None:
        """After the prefill: give every variation the end of its prefix, which does not fill a block."""
        for length, blocks in zip(self.lengths, self.blocks):
            if self.rows > 1 and length % self.size:
                last = blocks[:, :, length // self.size]
                self.caches[:, last[1:]] = self.caches[:, last[0]][:, None]

    def first_step(self) -> dict[str, np.ndarray]:
        """Inputs for a column of each variation that stay as they are."""
        return self._places(self.blocks, 1)

    def step(self, done: int) -> dict[str, np.ndarray]:
        """Inputs for one more column of each variation, after so many."""
        return self._lengths(self.lengths.repeat(self.rows) + np.int32(done), 1)

    def _lengths(self, past: np.ndarray, new: int) -> dict[str, np.ndarray]:
        return {"past_lens": past.repeat(self.heads), "max_context_len": past.max() + np.int32(new)}

    def _places(self, blocks: Sequence[np.ndarray], new: int) -> dict[str, np.ndarray]:
        counts = [branch.shape[2] for branch in blocks for _ in range(len(branch) * self.heads)]
        return {
            "sequences": np.array([sum(map(len, blocks))]),
            "subsequence_begins": np.arange(len(counts) + 1, dtype=np.int32) * np.int32(new),
            "block_indices": np.concatenate([branch.reshape(-1) for branch in blocks]),
            "block_indices_begins": np.cumsum([0, *counts], dtype=np.int32),
        }


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """As ``np.zeros``, whose memory is taken when it is written, at an address that the engine reads the fastest.

    Zeros, because it also multiplies what stands behind the columns of a block: by zero.
    """
    size = math.prod(shape) * dtype.itemsize
    whole = np.zeros(size + ALIGNED, np.uint8)
    return whole[-whole.ctypes.data % ALIGNED :][:size].view(dtype).reshape(shape)
