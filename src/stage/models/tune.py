"""Which kernel multiplies a large model's matrices the fastest on this machine: measured once, in a second or two.

What was measured is kept in the user's folder for this processor, number of threads and version of torch.
``STAGE_TUNE=off`` measures nothing: then a rule decides (``models/precision.py``).
"""

from __future__ import annotations

import contextlib
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
from stage.models.precision import int8_kernels, pack

SHAPE = 4096, 1024
MATRICES = 20
"""As many as do not fit into a cache."""
ROUNDS = 7
BRANCHES = 2


def fastest(precision: str, folder: Path) -> str:
    """The name of the fastest of ``precision.int8_kernels`` here. Empty where nothing is to be measured.

    folder: where figures are kept; a folder that cannot be written is no error.
    """
    if os.environ.get("STAGE_TUNE") == "off" or precision != "int8":
        return ""
    names = list(int8_kernels())
    if len(names) == 1:
        return names[0]
    file = folder / "tune.json"
    about = f"{torch.get_num_threads()} threads", f"torch {torch.__version__}"
    key = " | ".join((processor(), *about, precision, *names))
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
    layers = [pack(weight, precision, kernel=name) for _ in range(MATRICES)]
    return lambda: [layer(rows) for layer in layers]
