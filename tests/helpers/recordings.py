"""The real recording that the tests have: stempeg's, a file of its package."""

from __future__ import annotations

from pathlib import Path

import pytest

from stage.web import preparing


def real_stems() -> Path:
    """Its stems, as MUSDB has them. Skips where the package is missing, which is not imported: it wants ffmpeg."""
    path = preparing.recording()
    if path is None:
        pytest.skip("stempeg, which carries the recording, is not installed")
    return path
