"""STAGE: a new stem that follows a recording, or just a tempo."""

from __future__ import annotations

import os

# the same float32 sums whatever the number of threads or the rows of a batch: the same seed gives
# the same audio (read by Intel's MKL at its first use; elsewhere without effect)
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# numpy's threads sleep at once when a product is done: their usual busy waiting takes the cores from torch's
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")

__version__ = "0.1.0"
__all__ = ["Accompaniment", "BeatGrid", "Stage", "StageError", "__version__"]

_HOMES = {
    "Accompaniment": "stage.generation.result",
    "Stage": "stage.pipeline",
    "BeatGrid": "stage.beats.grid",
    "StageError": "stage.errors",
}


def __getattr__(name: str):
    """Import the public names when they are first asked for, so that `import stage` takes no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'stage' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
