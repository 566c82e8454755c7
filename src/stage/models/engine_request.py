"""Models that OpenVINO has compiled, and runs of them."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stage.errors import StageError
from stage.models.processor import detected, processor

if TYPE_CHECKING:
    from stage.models.engine_graph import Matrix

BITS = np.dtype(np.uint16)
"""Of the bits of bf16, for which NumPy has no type."""


class SignalStack(ctypes.Structure):
    """The memory on which a thread answers signals: ``stack_t`` of Linux, see sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    @classmethod
    def of_thread(cls) -> SignalStack:
        """That of the calling thread."""
        stack = cls()
        ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
        return stack

    def restore(self) -> None:
        """Make it that of the calling thread again."""
        ctypes.CDLL(None).sigaltstack(ctypes.byref(self), None)


@contextlib.contextmanager
def same_signal_stack() -> Iterator[None]:
    """What is called inside leaves the thread's signal stack as it was.

    OpenVINO sets one of its own when it compiles a model, and frees it with the model: the next signal, if only that a
    child process ended, would find no memory there, and the system would end the process (seen with 2026.4 on Linux).
    """
    stack = SignalStack.of_thread() if sys.platform == "linux" else None
    try:
        yield
    finally:
        if stack is not None:
            stack.restore()


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """What OpenVINO cannot do on this processor, or not in this version, is an error of one line."""
    try:
        yield
    except (RuntimeError, ImportError) as error:
        why = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise StageError(
            f"OpenVINO {importlib.metadata.version('openvino')} cannot compute this model here ({why.strip():.120}): "
            "choose --engine torch"
        ) from error


class Matrices(NamedTuple):
    """What a graph is made from: ``models/engine_graph.py``'s matrices by name.

    rest: called when all have been read; they may be read again. Gives back the memory in which a file is mapped.
    """

    of: Callable[[str], Matrix]
    rest: Callable[[], None] = lambda: None


class Compiled(NamedTuple):
    """A compiled model, and what its constants lie in: they must not be freed before."""

    model: Any
    matrices: Matrices


def compile_graph(graph: Any, precision: str, matrices: Matrices, threads: int = 0) -> Compiled:
    """A graph of ``models/engine_graph.py`` with these matrices, compiled for so many threads; by default for as many
    as torch has."""
    import openvino as ov

    # elsewhere the engine multiplies such weights in float32, and so it does where a test pretends to be there
    whole = precision == "bf16" and processor().bf16 and detected().bf16
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if whole else "f32",
        "KV_CACHE_PRECISION": "f32" if precision == "float32" else "bf16" if whole else "f16",
        # inputs that share a scale where columns are multiplied as bytes (with VNNI): the fastest of 32 to 1024
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": {"int8": "256", "int4": "64"}.get(precision, "0"),
        "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": False,  # other programs have the cores too
    }
    with same_signal_stack():
        return Compiled(ov.Core().compile_model(graph, "CPU", settings), matrices)


class Request:
    """Runs of a compiled model, with inputs of their own."""

    def __init__(self, compiled: Compiled):
        self.compiled, self.request = compiled, compiled.model.create_infer_request()
        self.runs = 0
        self.inputs: dict[str, np.ndarray] = {}  # the engine reads them where they are
        self.names = {name for made in compiled.model.inputs for name in made.get_names()}

    def give(self, name: str, value: Tensor | np.ndarray) -> None:
        """An input, which stays until another one is given."""
        import openvino as ov

        value = value.float().numpy() if isinstance(value, Tensor) else value
        self.inputs[name] = value = np.asarray(value, order="C")
        if value.dtype == BITS:
            self.request.set_tensor(name, ov.Tensor(value, value.shape, ov.Type.bf16))
        else:
            self.request.set_tensor(name, ov.Tensor(value, shared_memory=True))

    def run(self, given: dict[str, Tensor | np.ndarray]) -> None:
        """With these inputs, where the model has them; those that are not given stay as they were."""
        for name, value in given.items():
            if name in self.names:
                self.give(name, value)
        with refusing():
            self.request.infer()
        if not self.runs:  # the first of a model lays its matrices out anew
            self.compiled.matrices.rest()
        self.runs += 1

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an input; -1 where it is free."""
        shape = self.compiled.model.input(name).partial_shape
        return tuple(-1 if size.is_dynamic else size.get_length() for size in shape)

    def dtype(self, name: str) -> np.dtype:
        """Of an input; ``BITS`` for bf16."""
        kind = self.compiled.model.input(name).element_type
        return BITS if kind.get_type_name() == "bf16" else np.dtype(kind.to_dtype())

    def get(self, name: str) -> np.ndarray:
        """A copy of an output."""
        return self.request.get_tensor(name).data.copy()
