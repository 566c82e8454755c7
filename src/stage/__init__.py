"""STAGE: a new stem that follows a recording, or just a tempo."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stage import audio
    from stage.beats.grid import BeatGrid
    from stage.errors import MissingFile, StageError
    from stage.generation.decoding import Sampling
    from stage.generation.request import Request
    from stage.generation.result import Accompaniment
    from stage.pipeline import Stage

__version__ = "0.1.0"
__all__ = [
    "Accompaniment",
    "BeatGrid",
    "MissingFile",
    "Request",
    "Sampling",
    "Stage",
    "StageError",
    "__version__",
    "audio",
    "deterministic",
]

_HOMES = {
    "Accompaniment": "stage.generation.result",
    "BeatGrid": "stage.beats.grid",
    "MissingFile": "stage.errors",
    "Request": "stage.generation.request",
    "Sampling": "stage.generation.decoding",
    "Stage": "stage.pipeline",
    "StageError": "stage.errors",
}


def deterministic() -> None:
    """Let Intel's MKL add in one order, whatever the number of threads or the rows of a batch, for a little speed.

    It sets MKL_CBWR in this process's environment, unless it is set, and must be called before torch first multiplies;
    the command line does. Without MKL it has no effect.
    """
    import os

    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def __getattr__(name: str):
    """Import the public names when they are first asked for, so that `import stage` takes no torch."""
    import importlib

    if name == "audio":
        return importlib.import_module("stage.audio")
    if name not in _HOMES:
        raise AttributeError(f"module 'stage' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
