"""Licences of weights: which are free, how they are written, and the notice on those that are not."""

from __future__ import annotations

import contextlib
from pathlib import Path

from stage.checkpoints.paths import home
from stage.config import StageConfig

FREE = ("apache", "mit", "bsd", "isc", "cc0", "cc-by-4.0", "unlicense")
WRITTEN = {"apache-2.0": "Apache-2.0", "mit": "MIT"}
"""Licences as they are usually written; the hub has them in small letters."""
NON_COMMERCIAL = "attribution, and no commercial use"
MUSICGEN = "CC-BY-NC-4.0"
"""Of the MusicGen weights, and so of what is made of them: not for commercial use."""
UNKNOWN = "no stated licence"


def is_free(licence: str) -> bool:
    """Whether a licence lets everybody use the weights for everything, as Apache's does. An unknown one is not free."""
    return bool(licence) and all(part.strip().lower().startswith(FREE) for part in licence.split(","))


def written(licence: str) -> str:
    """A licence of the hub as it is usually written: apache-2.0 is Apache-2.0, cc-by-nc-4.0 is CC-BY-NC-4.0."""
    return WRITTEN.get(licence, licence.upper() if licence.startswith("cc") else licence)


def terms(licence: str) -> str:
    """A licence and, for those that forbid commercial use, what they ask."""
    return f"{licence or UNKNOWN}{f' ({NON_COMMERCIAL})' if '-nc' in licence.lower() else ''}"


def notice(model: str | Path, config: StageConfig) -> str | None:
    """A line on the licence of a model, the first time that it is used on this machine; None later, or if it is
    free."""
    if not config.licence or is_free(config.licence):
        return None
    shown, line = home() / "licences-told", " ".join(f"{config.name}: {config.licence}".split())
    with contextlib.suppress(OSError, ValueError):
        if line in shown.read_text(encoding="utf-8").splitlines():
            return None
    with contextlib.suppress(OSError, ValueError):  # where nothing can be written the notice comes every time
        shown.parent.mkdir(parents=True, exist_ok=True)
        with open(shown, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    return (
        f"the weights of {Path(model).name} are under {terms(config.licence)}; that licence also decides what you may"
        " do with the music"
    )
