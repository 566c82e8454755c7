"""Which kernel multiplies a large model's matrices the fastest on this machine: measured once, in a second or two.

What was measured is kept in the user's folder for this processor, number of threads and version of the libraries.
``STAGE_TUNE=off`` measures nothing: then a rule decides (``models/precision.py``).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from stage.errors import StageError
from stage.files import write_json
from stage.machine import processor
from stage.models import engine
from stage.models.precision import int8_kernels, pack

SHAPE = 4096, 1024
MATRICES = 20
"""As many as do not fit into a cache."""
ROUNDS = 7
BRANCHES = 2


def fastest(precision: str, folder: Path, any_engine: bool = True) -> str:
    """The name of the fastest way to multiply by matrices in int8 or int4 here: "openvino", or one of
    ``precision.int8_kernels`` ("torch" for int4). Empty where nothing is to be measured.

    folder: where figures are kept; a folder that cannot be written is no error. any_engine: without, torch's alone.
    """
    if os.environ.get("STAGE_TUNE") == "off" or precision not in ("int8", "int4"):
        return ""
    names = list(int8_kernels()) if precision == "int8" else ["torch"]
    if any_engine and engine.installed():
        names.append("openvino")
    if len(names) == 1:
        return names[0]
    file = folder / "tune.json"
    key = " | ".join((processor(), f"{torch.get_num_threads()} threads", *_versions(), precision, *names))
    known: dict[str, dict[str, float]] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = dict(json.loads(file.read_text(encoding="utf-8")))
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        if set(found := known.get(key, {})) == set(names):
            return min(found, key=lambda name: float(found[name]))
    figures = measure(precision, names)
    with contextlib.suppress(StageError, OSError):
        write_json(file, known | {key: figures})
    return min(figures, key=lambda name: figures[name])


def _versions() -> list[str]:
    found = [f"torch {torch.__version__}"]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found.append(f"openvino {importlib.metadata.version('openvino')}")
    return found


@torch.inference_mode()
def measure(precision: str, names: list[str]) -> dict[str, float]:
    """Milliseconds of the fastest of some rounds of products, by kernel; they take turns. Infinite where one fails."""
    draw = torch.Generator().manual_seed(0)  # the caller's randomness is not touched
    weight = torch.randn(SHAPE, generator=draw)
    rows = torch.randn(BRANCHES, SHAPE[1], generator=draw)
    made: dict[str, Callable[[], object]] = {}
    for name in names:
        with contextlib.suppress(Exception):
            made[name] = _products(name, weight, rows, precision)
            made[name]()
    best = dict.fromkeys(names, float("inf"))
    for _ in range(ROUNDS):
        for name, run in made.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - began))
    return best


def _products(name: str, weight: Tensor, rows: Tensor, precision: str) -> Callable[[], object]:
    if name != "openvino":
        layers = [pack(weight, precision, kernel=name) for _ in range(MATRICES)]
        return lambda: [layer(rows) for layer in layers]
    from stage.models.engine_graph import products_graph
    from stage.models.engine_weights import pack as packed
    from stage.models.engine_weights import unpack

    data = [packed("", weight, precision).numpy() for _ in range(MATRICES)]
    graph = products_graph([unpack("", part, SHAPE, precision) for part in data])
    request = engine.Request(engine.compile_graph(graph, precision, data))
    return lambda: request.run({"x": rows})
