"""Where models and adapters of the user are kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


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
