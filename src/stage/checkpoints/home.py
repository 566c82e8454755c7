"""Where what a user has installed is kept."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder of installed models and adapters: $STAGE_HOME, or the system's place for a user's data. May not exist yet."""
    if chosen := os.environ.get("STAGE_HOME"):
        return Path(chosen).expanduser()
    from platformdirs import user_data_path

    return user_data_path("stage")
