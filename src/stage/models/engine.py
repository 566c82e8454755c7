"""The decoder by OpenVINO, on CPUs: its matrices are read about as fast as the memory delivers them.

The engine holds matrices and attends; embeddings, guidance and sampling stay with torch. A generation is one request of
a compiled model, with caches of its own (``models/engine_pages.py``): the prefill of each branch is a call, and each
step of all of them another.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stage.errors import StageError
from stage.models.decoder import Decoder, rotation
from stage.models.engine_pages import Pages
from stage.models.engine_request import Compiled, Matrices, Request, compile_graph, refusing
from stage.prefix import Row

if TYPE_CHECKING:
    from stage.config import DecoderConfig
    from stage.models.engine_graph import Matrix
    from stage.models.lora import Adapter

ENGINES = ("auto", "torch", "openvino")
BYTES = {"float32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5 + 3 / 64}
"""Bytes that a weight takes in each precision of the engine, scales included."""
PRECISIONS = tuple(BYTES)
"""What the engine computes in; activations are float32, caches float16 but for float32. Where the processor multiplies
bf16, both are bf16 in that."""
ROUNDED = "bf16", "int8", "int4"
"""Those that "auto" takes where they are faster than by torch: in float32 the engine needs three times its memory."""


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


class Engine:
    """The matrices of a decoder, compiled when they are first needed, for the branches that are asked for."""

    def __init__(
        self,
        precision: str,
        weights: Callable[[], Matrices],
        adapter: Adapter | None = None,
        base: Engine | None = None,
    ):
        """weights: opens what the engine is compiled from. base: the engine without the adapter."""
        self.precision, self.weights, self.adapter, self.base = precision, weights, adapter, base
        self.compiled: dict[str, Compiled] = {}
        self.compiling = Lock()
        self.preparing: Thread | None = None
        self.played = False

    def hold(self, decoder: Decoder, paths: Iterable[str]) -> None:
        """Take these matrices out of a decoder (paths of their modules), which from now on is computed here."""
        for path in paths:
            parent, _, name = path.rpartition(".")
            setattr(decoder.get_submodule(parent), name, Held())
        decoder.head, decoder.engine = None, self

    def adapted(self, adapter: Adapter) -> Engine:
        """The same matrices with an adapter's changes; compiled anew."""
        return Engine(self.precision, self.weights, adapter, self)

    def prepare(self, decoder: Decoder) -> None:
        """Compile in the background what a piece with a prompt needs, while the rest of a model is loaded: Python alone
        is busy with that. Where it fails, the first piece says so."""
        self.preparing = Thread(target=self._prepare, args=(decoder, torch.get_num_threads()), name="compiling")
        self.preparing.start()

    def _prepare(self, decoder: Decoder, threads: int) -> None:
        config = decoder.config
        column = torch.zeros(1, config.dim)
        with contextlib.suppress(Exception):  # it comes again, to somebody who can be told
            Request(self._compiled(decoder, "text", threads)).run({"x": column})
            request = Request(self._compiled(decoder, "asking", threads))
            given = Pages(request, config, [1], 1, 0).prefill(0) | _turns(decoder, torch.zeros(1, 1, dtype=torch.int64))
            head_dim = config.dim // config.heads
            request.give("text", np.zeros((2 * config.layers, config.heads, 1, head_dim), np.float32))
            request.run(given | {"inputs_embeds": column, "wanted": np.zeros(1, np.int64)} | _told([1.0], 1))

    # ------------------------------------------------------------ steps

    def start(
        self, decoder: Decoder, branches: Sequence[Branch], rows: int, steps: int
    ) -> tuple[Tensor, list[Kept], Any]:
        """Prefill. Returns the logits of each branch's last column [branches, 1, K, size], what is kept of each
        branch, and the steps, so many at most, for so many variations (as ``models/fast_step.py``'s)."""
        self.played = True
        entered = [decoder.enter(branch.sequence, branch.features) for branch in branches]
        lengths = [x.shape[1] for x, _ in entered]
        request = self._request(decoder, branches)
        pages = Pages(request, decoder.config, lengths, rows, steps)
        told, logits = [float(branch.text is not None) for branch in branches], {}
        # a first run lays the matrices out anew, beside what it computes: the shortest branch needs the least
        for b in sorted(range(len(branches)), key=lambda b: lengths[b]):
            given = {"inputs_embeds": entered[b][0][0], "wanted": np.array([lengths[b] - 1])} | pages.prefill(b)
            given |= _turns(decoder, branches[b].sequence.positions) | _told(told[b : b + 1], lengths[b])
            request.run(given)
            logits[b] = _logits(request, 1, decoder.config)
        pages.part()
        size = 4 if self.precision == "float32" else 2
        caches = [Kept(decoder, length, rows, moment, size) for length, (_, moment) in zip(lengths, entered)]
        done = 0

        def step(columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Kept]) -> Tensor:
            nonlocal done
            given = {"inputs_embeds": decoder.enter_step(columns, position, segment, caches)} | pages.step(done)
            if not done:
                given |= pages.first_step() | _told(told, rows) | {"wanted": np.arange(len(branches) * rows)}
            request.run(given | _turns(decoder, position.repeat_interleave(rows)[:, None]))
            done += 1
            for cache in caches:
                cache.length += 1
            return _logits(request, len(caches) * rows, decoder.config).unflatten(0, (-1, rows))

        return torch.stack([logits[b] for b in range(len(branches))]), caches, step

    def logits(self, decoder: Decoder, branch: Branch) -> Tensor:
        """Of all columns of a row: [1, K, S, size]; zero where one is masked."""
        attend, (x, _) = branch.sequence.attend[0], decoder.enter(branch.sequence, branch.features)
        x, positions = x[0, attend], branch.sequence.positions[:, attend]
        request = self._request(decoder, [branch])
        pages = Pages(request, decoder.config, [len(x)], 1, 0)
        given = {"inputs_embeds": x, "wanted": np.arange(len(x))} | pages.prefill(0)
        request.run(given | _turns(decoder, positions) | _told([float(branch.text is not None)], len(x)))
        found = _logits(request, len(x), decoder.config)
        logits = found.new_zeros(len(attend), *found.shape[1:])
        logits[attend] = found
        return logits.transpose(0, 1)[None]

    def _request(self, decoder: Decoder, branches: Sequence[Branch]) -> Request:
        """A new request for these branches, with the keys and values of their text."""
        text = next((branch.text for branch in branches if branch.text is not None), None)
        if text is None:
            return Request(self._compiled(decoder, "bare"))
        asked = Request(self._compiled(decoder, "text"))
        asked.run({"x": text[0]})
        request = Request(self._compiled(decoder, "asking"))
        request.give("text", asked.get("text"))
        return request

    # ------------------------------------------------------------ compiling

    def _compiled(self, decoder: Decoder, key: str, threads: int = 0) -> Compiled:
        """The compiled decoder, "asking" a text or "bare", or what makes the "text" ready, for as many threads as torch
        has. Of the decoder the last one is kept: each takes the memory of all its matrices."""
        with refusing():
            from stage.models import engine_graph as graphs

        with self.compiling:
            if key not in self.compiled:
                if self.base is not None and self.base.preparing is not None and not self.base.played:
                    self.base.preparing.join()
                    self.base.compiled.clear()  # what was prepared of it is not needed
                if key != "text":
                    for old in [old for old in self.compiled if old != "text"]:
                        del self.compiled[old]
                matrices = self.weights()

                def weights(name: str) -> Any:
                    return self._with_adapter(name, matrices.of(name)) if _is_matrix(name) else _norm(decoder, name)

                with refusing():
                    config = decoder.config
                    if key == "text":
                        graph = graphs.text_graph(config, weights)
                    else:
                        graph = graphs.decoder_graph(config, weights, key == "asking")
                    self.compiled[key] = compile_graph(graph, self.precision, matrices, threads)
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


def _logits(request: Request, columns: int, config: DecoderConfig) -> Tensor:
    """[columns, K, size]. An answer of another size is an error: one of nothing was seen, without a word, where the
    engine computed with instructions that it took to be there."""
    with refusing():
        return torch.from_numpy(request.get("logits")).view(
            columns, config.codebooks, config.target_size or config.codebook_size
        )


def _told(told: Sequence[float], columns: int) -> dict[str, np.ndarray]:
    """Which columns attend to the text, [branches * columns, 1]: all of a branch or none."""
    return {"told": np.array(told, np.float32).repeat(columns)[:, None]}


def _turns(decoder: Decoder, positions: Tensor) -> dict[str, Tensor]:
    """Cosines and sines [S, 1, L, d] of the rotation at positions [S, L], the sines with the sign of the other half; or
    nothing with sinusoids."""
    if decoder.config.positions != "rotary":
        return {}
    cos, sin = rotation(positions, decoder.config.dim // decoder.config.heads)
    return {"cos": torch.cat([cos, cos], -1)[:, None], "sin": torch.cat([-sin, sin], -1)[:, None]}
