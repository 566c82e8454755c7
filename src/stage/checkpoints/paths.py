"""Where models and adapters are kept: those of the package, and those of the user."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

SHIPPED = Path(__file__).parent.parent / "weights"
"""The folder of the models of the package, one folder each."""


def home() -> Path:
    """``$STAGE_HOME``, else the user's folder for data (``~/.local/share/stage`` on Linux)."""
    chosen = os.environ.get("STAGE_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("stage", appauthor=False)


def models() -> Path:
    """The folder of installed models, one folder each."""
    return home() / "models"


def adapters() -> Path:
    """The folder of installed adapters, one folder each."""
    return home() / "adapters"


def engine_files(weights: Path) -> tuple[Path, str]:
    """Where the matrices of a file of weights are kept for the engine: a folder, and how their names begin."""
    return home() / "engine", f"{hashlib.sha256(str(weights.resolve()).encode()).hexdigest()[:12]}-"


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for a name that is too long, or in a folder that may not be entered."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; False as for `is_file`."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
