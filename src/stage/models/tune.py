"""What computes a large model the fastest on this machine: measured once, in seconds.

What was measured is kept in the user's folder for this processor, number of threads and version of the libraries. It is
measured in a process of its own, which takes its memory with it, and alone where a kernel crashes.
``STAGE_TUNE=off`` measures nothing: then a rule decides (``models/precision.py``), and torch computes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stage.config import DecoderConfig
from stage.errors import StageError
from stage.files import write_json
from stage.machine import processor
from stage.models import engine, precision
from stage.models.decoder import Decoder
from stage.models.described import described
from stage.models.engine import Branch, Engine
from stage.models.engine_request import Matrices
from stage.models.fast_step import start
from stage.prefix import Row

SHAPE = 4096, 1024
MATRICES = 20
"""As many as do not fit into a cache."""
WEIGHTS = 100_000_000
"""At least, of the layers whose steps are measured, for the same reason."""
COLUMNS = 500
"""Of the context that they attend to."""
ROUNDS, STEPS = 7, 24
BRANCHES = 2
ENGINES = "torch", "openvino"
BETTER = 0.97
"""Of torch's time: OpenVINO is taken if it needs less."""

PATIENCE = 180
"""Seconds after which a measurement is given up."""

Figures = dict[str, float]


def fastest(kind: str, folder: Path) -> str:
    """The name of the fastest of ``precision.int8_kernels`` here. Empty where nothing is to be measured.

    kind: a precision. folder: where figures are kept; a folder that cannot be written is no error.
    """
    if _off() or kind != "int8":
        return ""
    names = list(precision.int8_kernels())
    if len(names) == 1:
        return names[0]
    figures = _kept(folder, [kind, *names], names, lambda: apart("products", names, kind, names))
    return min(figures, key=lambda name: figures[name], default=names[0])


def is_engine_faster(config: DecoderConfig, kind: str, kernel: str, folder: Path) -> bool:
    """Whether whole steps of a decoder of this width are faster by OpenVINO than by torch; False where it is not
    there, or does not compute in this precision (``kind``).

    kernel: of ``fastest``. folder: as there.
    """
    if _off() or not engine.installed() or kind not in engine.ROUNDED:
        return False
    few = _of_few_layers(config)
    about = [kind, kernel, f"steps {config.dim} x {few.layers}, {config.heads} heads, {config.ffn_dim}"]
    figures = _kept(folder, about, ENGINES, lambda: apart("steps", ENGINES, asdict(few), kind, kernel))
    return bool(figures) and figures["openvino"] < BETTER * figures["torch"]


def _off() -> bool:
    return os.environ.get("STAGE_TUNE") == "off"


def _kept(folder: Path, about: Sequence[str], names: Sequence[str], measure: Callable[[], Figures]) -> Figures:
    """The figures of these names, from the user's folder where they were measured before; none where nothing can be
    measured."""
    file = folder / "tune.json"
    key = " | ".join((processor(), f"{torch.get_num_threads()} threads", *_versions(), *about))
    known: dict[str, Figures] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = dict(json.loads(file.read_text(encoding="utf-8")))
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        if set(found := known.get(key, {})) == set(names):
            return {name: float(value) for name, value in found.items()}
    figures = measure()
    with contextlib.suppress(StageError, OSError):
        if figures:
            write_json(file, known | {key: figures})
    return figures


def _versions() -> list[str]:
    found = [f"torch {torch.__version__}"]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found.append(f"openvino {importlib.metadata.version('openvino')}")
    return found


# ---------------------------------------------------------------- measuring


def apart(what: str, names: Sequence[str], *arguments: Any) -> Figures:
    """``products`` or ``steps`` in a new process, for these names. Where that crashes only the first of them is to be
    trusted; empty where it cannot be started, is killed or does not end."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stage.models.tune", json.dumps([torch.get_num_threads(), what, *arguments])],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=Path(__file__).parents[2],  # where it finds this package, and no module of the user's
        )
        found = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else {}
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return {}
    if set(found) == set(names):
        return {name: float(found[name]) for name in names}
    if done.returncode == -getattr(signal, "SIGKILL", 9):  # there was no memory for it; there may be another time
        return {}
    return dict.fromkeys(names, float("inf")) | {names[0]: 0.0}


@torch.inference_mode()
def products(kind: str, names: Sequence[str]) -> Figures:
    """Milliseconds of the fastest of some rounds of products, by kernel; they take turns. Infinite where one fails."""
    draw = torch.Generator().manual_seed(0)  # the caller's randomness is not touched
    weight = torch.randn(SHAPE, generator=draw)
    rows = torch.randn(BRANCHES, SHAPE[1], generator=draw)

    def multiplying(name: str) -> Callable[[], object]:
        layers = [precision.pack(weight, kind, kernel=name) for _ in range(MATRICES)]
        return lambda: [layer(rows) for layer in layers]

    return _least({name: partial(multiplying, name) for name in names}, ROUNDS)


@torch.inference_mode()
def steps(config: DecoderConfig, kind: str, kernel: str) -> Figures:
    """Milliseconds of the fastest of some steps with guidance, by engine; they take turns. Infinite where one fails."""
    with torch.random.fork_rng(devices=[]):  # the caller's randomness is not touched
        torch.manual_seed(0)
        drawn = Decoder(config).eval()
        engines = {"torch": _by_torch, "openvino": _by_engine}
        makers = {
            name: lambda make=make: _stepping(make(config, drawn, kind, kernel)) for name, make in engines.items()
        }
        return _least(makers, STEPS)


def _least(makers: Mapping[str, Callable[[], Callable[[], object]]], rounds: int) -> Figures:
    """Milliseconds of the fastest of some rounds of each, which take turns; infinite where it cannot be made or run."""
    best, runs = dict.fromkeys(makers, float("inf")), {}
    for name, make in makers.items():
        with contextlib.suppress(Exception):
            run = make()
            run()  # the first is not like the others
            runs[name] = run
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - began))
    return best


def _of_few_layers(config: DecoderConfig) -> DecoderConfig:
    """A decoder of the same width, of as many layers as do not fit into a cache, without what belongs to a model's
    contexts."""
    layer = 8 * config.dim**2 + 2 * config.dim * config.ffn_dim
    return replace(config, layers=min(config.layers, -(-WEIGHTS // layer)), features=0, context_layers=0)


def _by_torch(config: DecoderConfig, drawn: Decoder, kind: str, kernel: str) -> Decoder:
    decoder, weights = _empty(config, drawn)
    for name, path in precision.matrices(drawn).items():
        precision.replace(decoder, path, weights[name], kind, kernel=kernel)
    return decoder.to(precision.compute_dtype(kind, "cpu"))


def _by_engine(config: DecoderConfig, drawn: Decoder, kind: str, kernel: str) -> Decoder:
    from stage.models.engine_weights import pack, unpack

    decoder, weights = _empty(config, drawn)
    flat = {
        "head" if path == "predict" else path: weights[name].flatten(0, -2)
        for name, path in precision.matrices(drawn).items()
    }
    packed = {name: pack(name, weight, kind).numpy() for name, weight in flat.items()}

    matrices = Matrices(lambda name: unpack(name, packed[name], tuple(flat[name].shape), kind))
    Engine(kind, lambda: matrices).hold(decoder, precision.matrices(drawn).values())
    return decoder


def _empty(config: DecoderConfig, drawn: Decoder) -> tuple[Decoder, dict[str, Tensor]]:
    """A decoder that shares the drawn one's weights, but for its matrices, which are given beside it."""
    weights = {name: weight.detach() for name, weight in drawn.state_dict().items()}
    with described():
        decoder = Decoder(config)
    decoder.load_state_dict(weights, assign=True)
    return decoder.eval().requires_grad_(False), weights


def _stepping(decoder: Decoder) -> Callable[[], object]:
    """A generation that goes on by a step with each call: one branch with a context and a text, one without."""
    config = decoder.config
    branches = [
        Branch(_row(config, COLUMNS), torch.randn(1, 8, config.dim, dtype=decoder.embed.dtype)),
        Branch(_row(config, 1)),
    ]
    _, caches, step = start(decoder, branches, 1, COLUMNS, hurry=False)
    columns = torch.zeros(BRANCHES, 1, config.codebooks, dtype=torch.int64)
    positions, segment = torch.tensor([COLUMNS, 1]), torch.tensor(0)

    def run() -> None:
        step(columns, positions, segment, caches)
        positions.add_(1)

    for _ in range(2):  # the first is not traced
        run()
    return run


def _row(config: DecoderConfig, columns: int) -> Row:
    codes = torch.randint(config.codebook_size, (1, config.codebooks, columns))
    places = torch.arange(columns)[None]
    return Row(codes, places >= 0, places, torch.zeros_like(places), columns - 1, 0)


if __name__ == "__main__":
    threads, what, *given = json.loads(sys.argv[1])
    torch.set_num_threads(threads)
    figures = products(*given) if what == "products" else steps(DecoderConfig(**given[0]), *given[1:])
    print(json.dumps(figures))
