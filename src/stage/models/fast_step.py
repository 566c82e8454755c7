"""A step without Python between its kernels: traced on a CPU; on a GPU compiled and recorded as a CUDA graph.

A step is hundreds of kernels of a few microseconds; launching them one by one takes longer than running them.
``STAGE_TRACE=0`` turns the tracing off, ``STAGE_CUDA_GRAPHS=0`` the recording, ``STAGE_COMPILE=0`` the compilation.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from stage.models.cache import Cache
from stage.models.decoder import Decoder
from stage.models.engine import Branch
from stage.prefix import Row
from stage.threads import one_thread

Step = Callable[[Tensor, Tensor, Tensor, Sequence[Cache]], Tensor]
WARM_UP = 3
LATER = 30
"""Steps of a generation after which it is traced: the first sound of a stream does not wait for that."""
PAYS = 60
"""Steps that must be left: tracing takes as long as some twenty plain ones."""
SMALL = 512
"""Width of a decoder up to which one thread makes its steps: kernels that are so short gain nothing from two. Where
other programs had the cores, two took forty times as long: at each kernel's end one spins until the other is done."""


def on(switch: str) -> bool:
    """Whether an environment variable leaves something on."""
    return os.environ.get(switch, "1") != "0"


class StepGraph:
    """``Decoder.step`` for one generation's caches, recorded once and replayed."""

    def __init__(self, step: Step, columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Cache]):
        """columns [branches, V, K], position [branches], segment 0-d: the arguments of the first step, on the GPU."""
        self.columns, self.position = columns.clone(), position.clone()
        lengths = [cache.length.clone() for cache in caches]
        with torch.cuda.device(columns.device):  # a recording is of the current GPU, which may be another one
            self._record(step, segment, caches, lengths)

    def _record(self, step: Step, segment: Tensor, caches: Sequence[Cache], lengths: Sequence[Tensor]) -> None:
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

    def __call__(self, columns: Tensor, position: Tensor) -> Tensor:
        """As ``Decoder.step`` with the other arguments of the first; the next call overwrites the result."""
        self.columns.copy_(columns)
        self.position.copy_(position)
        with torch.cuda.device(self.columns.device):
            self.graph.replay()
        return self.logits


class _Traceable(nn.Module):
    """``Decoder.step`` as a function of tensors alone.

    Weights are held flat: PyTorch finds them by their identity, and every module costs time.
    """

    def __init__(self, decoder: Decoder, kinds: Sequence[tuple[bool | int, ...]]):
        super().__init__()
        self.held = [decoder, kinds]  # in a list, so that it does not become a child
        for i, weight in enumerate((*decoder.parameters(), *decoder.buffers())):
            self.register_buffer(f"weight{i}", weight)
        packed = (
            value
            for module in decoder.modules()
            for value in vars(module).values()
            if isinstance(value, torch.ScriptObject)
        )
        for i, weight in enumerate(packed):
            setattr(self, f"packed{i}", weight)

    def forward(self, columns: Tensor, position: Tensor, segment: Tensor, lengths: Tensor, *tensors: Tensor) -> Tensor:
        """lengths: [branches] int64. tensors: those of all caches, one after the other."""
        decoder, kinds = self.held
        left = iter(tensors)
        return decoder.step(
            columns, position, segment, [Cache.of(kind, length, left) for kind, length in zip(kinds, lengths.clone())]
        )


_traces: WeakKeyDictionary[Decoder, dict[tuple, torch.jit.ScriptModule | None]] = WeakKeyDictionary()
"""For each decoder its steps by branches, variations and kinds of caches; None for those that could not be traced."""
_tracing = Lock()


def trace(
    decoder: Decoder, inputs: Sequence[Tensor], kinds: Sequence[tuple[bool | int, ...]]
) -> torch.jit.ScriptModule | None:
    """A decoder's step over caches of these kinds, for any lengths of theirs. None, and a warning, where PyTorch
    cannot.

    inputs: of ``_Traceable.forward``. The step is made, over caches that are to be given it again.
    """
    with _tracing, warnings.catch_warnings():
        # nothing newer of PyTorch's runs on a CPU without Python or a compiler for C++; and what a trace takes for
        # constant is
        warnings.simplefilter("ignore")
        profiling = torch._C._jit_set_profiling_executor(False)  # the other one looks at every new length again
        try:
            made = torch.jit.trace(_Traceable(decoder, kinds), tuple(inputs), check_trace=False, _store_inputs=False)
            made(*inputs)  # the first time it is optimised
            return made
        except Exception as error:
            why = " ".join(str(error).split())
        finally:
            torch._C._jit_set_profiling_executor(profiling)
    warnings.warn(f"steps run untraced, somewhat slower ({why:.160})", stacklevel=2)
    return None


def traced(decoder: Decoder, caches: Sequence[Cache], steps: int, hurry: bool) -> Step:
    """``Decoder.step`` that is traced in the course of a generation of so many steps, or was so by one before it.
    hurry: see ``fast_step``."""
    kinds = tuple(cache.kind for cache in caches)
    known = _traces.setdefault(decoder, {})
    # with other threads other kernels may compute variations alike (``models/alike.py``)
    key, done = (kinds, decoder.embed.dtype, torch.get_num_threads()), 0

    def step(columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Cache]) -> Tensor:
        nonlocal done
        done += 1
        if key not in known and (done <= max(1, LATER * hurry) or steps - done < PAYS):
            return decoder.step(columns, position, segment, caches)
        lengths = torch.tensor([cache.length for cache in caches])
        inputs = [columns, position, segment, lengths, *(tensor for cache in caches for tensor in cache.tensors())]
        if key not in known:
            known[key] = trace(decoder, inputs, kinds)
        if known[key] is None:
            return decoder.step(columns, position, segment, caches)
        logits = known[key](*inputs)
        for cache in caches:
            cache.length += 1
        return logits

    return step


def start(
    decoder: Decoder, branches: Sequence[Branch], rows: int, steps: int, hurry: bool = True
) -> tuple[Tensor, Sequence[Cache], Step]:
    """Prefill the branches of a generation, and find the quickest way to go on from there.

    rows: variations. steps, hurry: as ``fast_step``. Returns the logits of each branch's last column [branches, 1, K,
    size], what the steps attend to (one for each branch, with ``bytes``), and the step.
    """
    if decoder.engine is not None:
        return decoder.engine.start(decoder, branches, rows, steps)
    logits, caches = [], []
    for sequence, text, features in branches:
        first, cache = decoder.prefill(sequence.to(decoder.device), text, features=features)
        logits.append(first)
        caches.append(cache.expand(rows, steps))
        del cache
    return torch.stack(logits), caches, fast_step(decoder, caches, steps, hurry)


def threads(decoder: Decoder, step: bool = False) -> AbstractContextManager[None]:
    """What torch computes inside for a decoder takes one thread where that is small (``SMALL``), else as many as there
    are. A step of an engine has threads of its own, beside which torch's would wait spinning: it takes one too."""
    small = decoder.config.dim <= SMALL or step and decoder.engine is not None
    return one_thread() if decoder.device.type == "cpu" and small else nullcontext()


def row_logits(decoder: Decoder, sequence: Row) -> Tensor:
    """Logits of all columns of a row (B = 1) without text: [1, K, S, size]."""
    if decoder.engine is not None:
        return decoder.engine.logits(decoder, Branch(sequence))
    return decoder.logits(decoder(sequence))


def fast_step(decoder: Decoder, caches: Sequence[Cache], steps: int, hurry: bool = True) -> Step:
    """The quickest way to step a decoder so many times over these caches; ``Decoder.step`` itself where nothing is
    gained.

    hurry: the first steps are waited for, as in a stream, more than the last.
    """
    if decoder.device.type == "cpu":
        return traced(decoder, caches, steps, hurry) if on("STAGE_TRACE") else decoder.step
    if decoder.device.type != "cuda" or not on("STAGE_CUDA_GRAPHS"):
        return decoder.step
    for cache in caches:
        cache.fix()
    step: Step = torch.compile(decoder.step, fullgraph=True) if on("STAGE_COMPILE") else decoder.step
    recorded: list[StepGraph] = []

    def replay(columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Cache]) -> Tensor:
        if not recorded:
            recorded.append(StepGraph(step, columns, position, segment, caches))
        return recorded[0](columns, position)

    return replay
