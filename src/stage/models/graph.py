"""A step without Python between its kernels, for GPUs: compiled, and recorded as a CUDA graph.

A small decoder's step is hundreds of kernels of a few microseconds; launching them one by one takes longer than running them.
``STAGE_CUDA_GRAPHS=0`` turns the recording off, ``STAGE_COMPILE=0`` the compilation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .cache import Cache
from .decoder import Decoder

Step = Callable[[Tensor, Tensor, Tensor, Sequence[Cache]], Tensor]
WARM_UP = 3


def on(switch: str) -> bool:
    """Whether an environment variable leaves something on."""
    return os.environ.get(switch, "1") != "0"


class StepGraph:
    """``Decoder.step`` for one generation's caches, recorded once and replayed."""

    def __init__(self, step: Step, columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Cache]):
        """columns [branches, V, K], position [branches], segment 0-d: the arguments of the first step, on the GPU."""
        self.columns, self.position = columns.clone(), position.clone()
        lengths = [cache.length.clone() for cache in caches]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # kernels are chosen and compiled outside of the recording
            for _ in range(WARM_UP):
                step(self.columns, self.position, segment, caches)
                self._restore(caches, lengths)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.logits = step(self.columns, self.position, segment, caches)
        self._restore(caches, lengths)

    @staticmethod
    def _restore(caches: Sequence[Cache], lengths: Sequence[Tensor]) -> None:
        for cache, length in zip(caches, lengths):
            cache.length.copy_(length)

    def __call__(self, columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Cache]) -> Tensor:
        """As ``Decoder.step``; the result is overwritten by the next call."""
        self.columns.copy_(columns)
        self.position.copy_(position)
        self.graph.replay()
        return self.logits


def fast_step(decoder: Decoder, caches: Sequence[Cache]) -> Step:
    """The quickest way to step a decoder over these caches: recorded on a GPU, ``Decoder.step`` itself elsewhere."""
    if decoder.device.type != "cuda" or not on("STAGE_CUDA_GRAPHS"):
        return decoder.step
    for cache in caches:
        cache.fix()
    step: Step = torch.compile(decoder.step, fullgraph=True) if on("STAGE_COMPILE") else decoder.step
    recorded: list[StepGraph] = []

    def replay(columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Cache]) -> Tensor:
        if not recorded:
            recorded.append(StepGraph(step, columns, position, segment, caches))
        return recorded[0](columns, position, segment, caches)

    return replay
