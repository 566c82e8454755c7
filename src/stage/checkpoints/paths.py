"""Where models and adapters are kept: those of the package, and those of the user."""

from __future__ import annotations

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
