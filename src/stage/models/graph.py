"""A step without Python between its kernels: compiled, and on a GPU recorded as a CUDA graph.

A step is hundreds of kernels of a few microseconds; launching them one by one takes longer than running them. On CPUs one layer
is compiled, and all layers run it; a compiler for C++ must be there, and the first time costs some twenty seconds (the result is
kept), so that short generations and small decoders go without.
``STAGE_CUDA_GRAPHS=0`` turns the recording off, ``STAGE_COMPILE=0`` the compilation.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial

import platformdirs
import torch
from torch import Tensor

from .cache import Cache, Memory
from .decoder import Decoder, Layer, LayerStep
from .precision import SMALL

Step = Callable[[Tensor, Tensor, Tensor, Sequence[Cache]], Tensor]
WARM_UP = 3
LONG = 400
"""Steps from which on compilation on the CPU pays, once its result is kept."""


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


@cache
def compiled_layer() -> LayerStep:
    """``Layer.step`` compiled for CPUs. Whatever keeps it from being compiled leaves it as it is, and is told once."""
    # in the user's cache, since the temporary folder of torch's choice is gone after a restart
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(platformdirs.user_cache_path("stage", appauthor=False) / "compiled"))
    # torch would put its fused attention, which is slow for single queries, in the place of plain products
    compiled = torch.compile(Layer.step, fullgraph=True, options={"pattern_matcher": False})
    broken = False

    def step(layer: Layer, x: Tensor, turn: tuple[Tensor, Tensor] | None, branches: list[Memory]) -> Tensor:
        nonlocal broken
        if not broken:
            try:
                return compiled(layer, x, turn, branches)
            except Exception as error:  # the compiler's, or torch's own: it has not run, so nothing was written
                broken = True
                why = " ".join(str(error).split())
                warnings.warn(f"steps run uncompiled, somewhat slower ({why:.160})", stacklevel=2)
        return Layer.step(layer, x, turn, branches)

    return step


def worth_compiling(decoder: Decoder, steps: int) -> bool:
    """Whether a generation on the CPU is quicker with compilation than without it."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "cl")), None)
    return on("STAGE_COMPILE") and steps >= LONG and compiler is not None and decoder.config.layers * decoder.config.dim**2 * 12 >= SMALL


def fast_step(decoder: Decoder, caches: Sequence[Cache], steps: int) -> Step:
    """The quickest way to step a decoder so many times over these caches; ``Decoder.step`` itself where nothing is to be gained."""
    if decoder.device.type == "cpu" and worth_compiling(decoder, steps):
        return partial(decoder.step, step=compiled_layer())
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
