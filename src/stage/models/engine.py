"""The decoder by OpenVINO, on CPUs: its matrices are read about as fast as the memory delivers them.

The engine holds matrices and caches; embeddings, guidance and sampling stay with torch. A generation is one request of
a compiled model, with caches of its own: the prefill of all branches is one call, and each step another.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stage.errors import StageError
from stage.models.decoder import Decoder, rotation
from stage.prefix import Row

if TYPE_CHECKING:
    from stage.models.engine_graph import Matrix
    from stage.models.lora import Adapter

ENGINES = ("auto", "torch", "openvino")
BYTES = {"float32": 4.0, "int8": 1.0, "int4": 0.5 + 3 / 64}
"""Bytes that a weight takes in each precision of the engine, scales included."""
PRECISIONS = tuple(BYTES)
"""What the engine computes in; activations are float32, caches float16 but for float32."""
ROUNDED = "int8", "int4"
"""Those in which it may be faster than torch: float32 takes both as long as the memory."""


def installed() -> bool:
    """Whether OpenVINO is there."""
    return importlib.util.find_spec("openvino") is not None


def choose_engine(engine: str, precision: str, device: torch.device | str, faster: bool) -> str:
    """Torch or openvino, for a model that is loaded in this precision; StageError for what cannot be had.

    faster: whether OpenVINO is what "auto" takes: it was measured to be faster (``models/tune.py``).
    """
    if engine not in ENGINES:
        raise StageError(f'"{engine}" is not an engine: choose {", ".join(ENGINES)}')
    on_cpu = torch.device(device).type == "cpu"
    if engine == "auto":
        return "openvino" if on_cpu and faster else "torch"
    if engine == "openvino":
        if not installed():
            raise StageError('OpenVINO is not installed: pip install "stage-music[fast]", or choose --engine torch')
        if not on_cpu:
            raise StageError(f"OpenVINO computes on CPUs: choose --device cpu, or --engine torch on {device}")
        if precision not in PRECISIONS:
            raise StageError(
                f"OpenVINO computes in {', '.join(PRECISIONS)} here: choose --engine torch for {precision}"
            )
    return engine


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


class Compiled(NamedTuple):
    """A compiled model, and what its constants lie in: it must not be freed before."""

    model: Any
    held: Any


def compile_graph(graph: Any, precision: str, held: Any) -> Compiled:
    """A graph of ``models/engine_graph.py``, compiled for as many threads as torch has. held: see ``Compiled``."""
    import openvino as ov

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "KV_CACHE_PRECISION": "f32" if precision == "float32" else "f16",
        # inputs that share a scale where columns are multiplied as bytes (with VNNI): the fastest of 32 to 1024
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": {"float32": "0", "int8": "256", "int4": "64"}[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": False,  # other programs have the cores too
    }
    with same_signal_stack():
        return Compiled(ov.Core().compile_model(graph, "CPU", settings), held)


class Branch(NamedTuple):
    """A branch of the guidance before its first step: its row (B = 1), its projected text [1, L, D] or None, and its
    features [1, T, F] or None."""

    sequence: Row
    text: Tensor | None = None
    features: Tensor | None = None


class Held(nn.Module):
    """Stands in a decoder for a matrix that the engine holds."""

    def forward(self, x: Tensor) -> Tensor:
        raise StageError("this model's matrices are held by OpenVINO: load it with engine torch")


class Kept:
    """What the engine keeps of a branch. As ``Cache``: moment, rows, length, and the bytes that a step reads."""

    def __init__(self, decoder: Decoder, length: int, rows: int, moment: Tensor | None, size: int):
        self.prefix, self.length, self.rows, self.moment = length, length, rows, moment
        self.column = 2 * decoder.config.layers * decoder.config.dim * size

    @property
    def bytes(self) -> int:
        """Bytes that a step reads of it; the prefix stands once for all variations."""
        return self.column * (self.prefix + self.rows * (self.length - self.prefix))


class Request:
    """A run of a compiled model, with states of its own."""

    def __init__(self, compiled: Compiled):
        self.compiled, self.request = compiled, compiled.model.create_infer_request()
        self.inputs: dict[str, np.ndarray] = {}  # the engine reads them where they are

    def run(self, given: dict[str, Tensor | np.ndarray]) -> None:
        """With these inputs; those that are not given stay as they were."""
        import openvino as ov

        for name, value in given.items():
            value = value.float().numpy() if isinstance(value, Tensor) else value
            self.inputs[name] = np.ascontiguousarray(value)
            self.request.set_tensor(name, ov.Tensor(self.inputs[name], shared_memory=True))
        self.request.infer()

    def get(self, name: str) -> np.ndarray:
        """A copy of an output."""
        return self.request.get_tensor(name).data.copy()

    def logits(self) -> Tensor:
        """[n, K * size]."""
        return torch.from_numpy(self.get("logits"))


class Engine:
    """The matrices of a decoder, compiled when they are first needed, for the branches that are asked for."""

    def __init__(self, precision: str, weights: Callable[[], Any], adapter: Adapter | None = None):
        """weights: opens what the engine is compiled from: a context manager that yields ``engine_graph.Weights``."""
        self.precision, self.weights, self.adapter = precision, weights, adapter
        self.compiled: dict[Any, Compiled] = {}
        self.compiling = Lock()

    def hold(self, decoder: Decoder, paths: Iterable[str]) -> None:
        """Take these matrices out of a decoder (paths of their modules), which from now on is computed here."""
        for path in paths:
            parent, _, name = path.rpartition(".")
            setattr(decoder.get_submodule(parent), name, Held())
        decoder.head, decoder.engine = None, self

    def adapted(self, adapter: Adapter) -> Engine:
        """The same matrices with an adapter's changes; compiled anew."""
        return Engine(self.precision, self.weights, adapter)

    # ------------------------------------------------------------ steps

    def start(self, decoder: Decoder, branches: Sequence[Branch], rows: int) -> tuple[Tensor, list[Kept], Any]:
        """Prefill. Returns the logits of each branch's last column [branches, 1, K, size], what is kept of each
        branch, and the steps for so many variations (as ``models/fast_step.py``'s)."""
        lengths = [branch.sequence.columns.shape[-1] for branch in branches]
        request, moments = self._entered(decoder, branches, np.cumsum(lengths) - 1)
        size = 4 if self.precision == "float32" else 2
        caches = [Kept(decoder, length, rows, moment, size) for length, moment in zip(lengths, moments)]
        logits, books = request.logits(), decoder.config.codebooks
        beam = [np.zeros(rows, np.int32), np.arange(rows, dtype=np.int32)]  # the first step goes on from one row
        last = np.arange(len(branches) * rows)

        def step(columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Kept]) -> Tensor:
            x = decoder.enter_step(columns, position, segment, caches)
            given = {"beam": beam[0], "wanted": last}
            beam[0] = beam[-1]
            turns = _turns(decoder, position)
            for b, cache in enumerate(caches):
                cache.length += 1
                given[f"x{b}"] = x[b * rows : (b + 1) * rows]
                given[f"mask{b}"] = np.zeros((1, 1, 1, cache.length), np.float32)
                given |= {f"{name}{b}": value[:, :, b : b + 1] for name, value in turns.items()}
            request.run(given)
            return request.logits().view(len(caches), rows, books, -1)

        return logits.view(len(branches), 1, books, -1), caches, step

    def logits(self, decoder: Decoder, branch: Branch) -> Tensor:
        """Of all columns of a row: [1, K, S, size]."""
        request, _ = self._entered(decoder, [branch], np.arange(branch.sequence.columns.shape[-1]))
        logits = request.logits()
        return logits.view(len(logits), decoder.config.codebooks, -1).transpose(0, 1)[None]

    def _entered(
        self, decoder: Decoder, branches: Sequence[Branch], wanted: np.ndarray
    ) -> tuple[Request, list[Tensor | None]]:
        """A new request with the branches' rows as its prefill, and what is added to later columns of each."""
        texts = tuple(branch.text is not None for branch in branches)
        request, given, moments = Request(self._compiled(decoder, texts)), {}, []
        for b, (sequence, _, features) in enumerate(branches):
            x, moment = decoder.enter(sequence, features)
            moments.append(moment)
            length = x.shape[1]
            causal = torch.ones(length, length, dtype=torch.bool).tril() & sequence.attend[0]
            mask = torch.zeros(length, length).masked_fill_(~(causal | torch.eye(length, dtype=torch.bool)), -torch.inf)
            given |= {f"x{b}": x[0], f"mask{b}": mask[None, None]}
            given |= {f"{name}{b}": value for name, value in _turns(decoder, sequence.positions[0]).items()}
        text = next((branch.text for branch in branches if branch.text is not None), None)
        if text is not None:
            asked = Request(self._compiled(decoder, "text"))
            asked.run({"x": text[0]})
            given["text"] = asked.get("text")
        request.run(given | {"beam": np.zeros(1, np.int32), "wanted": wanted})
        return request, moments

    # ------------------------------------------------------------ compiling

    def _compiled(self, decoder: Decoder, key: Any) -> Compiled:
        """The compiled model for these branches (which of them have a text), or for the "text" itself. The last one of
        each is kept: each takes the memory of all its matrices."""
        from stage.models import engine_graph as graphs

        with self.compiling:
            if key not in self.compiled:
                if key != "text":
                    for old in [old for old in self.compiled if old != "text"]:
                        del self.compiled[old]
                with self.weights() as matrices:

                    def weights(name: str) -> Any:
                        return self._with_adapter(name, matrices(name)) if _is_matrix(name) else _norm(decoder, name)

                    config = decoder.config
                    if key == "text":
                        graph = graphs.text_graph(config, weights)
                    else:
                        graph = graphs.decoder_graph(config, weights, key)
                    self.compiled[key] = compile_graph(graph, self.precision, matrices)
            return self.compiled[key]

    def _with_adapter(self, name: str, matrix: Matrix) -> Matrix:
        layer, _, part = name.removeprefix("layers.").partition(".")
        if self.adapter is None or part not in self.adapter.config.layers:
            return matrix
        delta = self.adapter.layers[int(layer)][part]
        a, b = delta.a.detach().float(), self.adapter.config.scale * delta.b.detach().float()
        return matrix._replace(delta=(a.cpu().numpy(), b.cpu().numpy()))


def _is_matrix(name: str) -> bool:
    return not name.endswith("norm")


def _norm(decoder: Decoder, name: str) -> tuple[np.ndarray, np.ndarray]:
    norm = decoder.get_submodule(name)
    return norm.weight.detach().float().numpy(), norm.bias.detach().float().numpy()


def _turns(decoder: Decoder, positions: Tensor) -> dict[str, Tensor]:
    """Cosines and sines [1, 1, L, d] of the rotation at positions [L], the sines with the sign of the other half; or
    nothing with sinusoids."""
    if decoder.config.positions != "rotary":
        return {}
    cos, sin = rotation(positions, decoder.config.dim // decoder.config.heads)
    return {"cos": torch.cat([cos, cos], -1)[None, None], "sin": torch.cat([-sin, sin], -1)[None, None]}
