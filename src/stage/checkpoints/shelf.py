"""The models that are at hand: those of the package, and those that the user has installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..config import DecoderConfig, StageConfig
from ..errors import StageError
from . import home
from .convert import convert
from .foreign import MUSICGEN_LICENCE, T5
from .hub import Fetched, fetch, look
from .memory import parameters
from .native import SHIPPED

FREE = ("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0")
"""Licences that ask for no more than to be named."""


@dataclass(frozen=True)
class Installed:
    """A model at hand. size: bytes on disk. parameters: of its decoder. precision: that its decoder is stored in."""

    name: str
    path: Path
    stems: tuple[str, ...]
    parameters: int
    size: int
    precision: str
    licence: str
    origin: str
    shipped: bool


def installed() -> list[Installed]:
    """All models at hand, those of the package first. A folder that is none is left out."""
    found = []
    for place, shipped in ((SHIPPED, True), (home.models(), False)):
        for file in sorted(place.glob("*/config.json")):
            try:
                config = json.loads(file.read_text())
                stage, shape = StageConfig(**config["stage"]), DecoderConfig(**config["decoder"])
                stored = _stored(file.parent / "decoder.safetensors")
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
            size = sum(part.stat().st_size for part in file.parent.rglob("*") if part.is_file())
            found.append(Installed(file.parent.name, file.parent, shape.stems, parameters(shape), size, stored, stage.licence, stage.origin, shipped))
    return found


def _stored(file: Path) -> str:
    """In what a file's tensors are stored, as its header says."""
    with open(file, "rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    kinds = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
    return {"F32": "float32", "BF16": "bf16", "F16": "float16"}.get(kinds.pop(), "mixed") if len(kinds) == 1 else "mixed"


def short_name(name: str, stems: Sequence[str]) -> str:
    """The name under which a model of the hub is installed: facebook/musicgen-small for drums is musicgen-small-drums."""
    return "-".join([name.rstrip("/").rpartition("/")[2], *stems])


def get(name: str, stems: Sequence[str] = (), revision: str | None = None, as_name: str = "", dtype: torch.dtype | None = None, t5: str = T5,
        agree: Callable[[str], bool] = lambda licence: False, on_share: Callable[[float], None] | None = None) -> Installed:
    """Download a model from the hub, convert it and install it.

    agree: asked with the licence before anything is downloaded; it must return True, unless the licence is a free one.
    Raises StageError; nothing half-made is installed.
    """
    own = as_name or short_name(name, stems)
    if "/" in own or own in ("", ".", ".."):
        raise StageError(f'"{own}" is no name for a model: choose one without slashes')
    target = home.models() / own
    if target.exists():
        raise StageError(f"{own} is installed already: use it with --model {own}, remove it first, or choose another --name")
    licence, _ = look(name, revision)
    licence = licence or MUSICGEN_LICENCE
    if not is_free(licence) and not agree(licence):
        raise StageError(f"{name} has the licence {licence}, which restricts its use (CC BY-NC: nothing commercial): add --accept-licence if you accept it")
    fetched: Fetched = fetch(name, revision)
    convert(fetched.path, target, stems=stems, name=own, origin=f"{name} @ {fetched.commit}", dtype=dtype, t5=t5, licence=licence, on_share=on_share)
    return next(model for model in installed() if model.path == target)


def remove(name: str) -> Path:
    """Delete an installed model; returns the folder that it had."""
    for model in installed():
        if model.name == name:
            if model.shipped:
                raise StageError(f"{name} comes with the package and stays")
            shutil.rmtree(model.path)
            return model.path
    raise StageError(f"no model '{name}' is installed: stage models lists those that are")


def is_free(licence: str) -> bool:
    """Whether a licence asks for no more than to be named."""
    return licence.lower() in FREE


def notice(name_or_path: str, config: StageConfig) -> str | None:
    """What to say, once, when a model with a restrictive licence is used for the first time; None afterwards."""
    if not config.licence or is_free(config.licence):
        return None
    told = home.home() / "licences-told.txt"
    line = f"{name_or_path} {config.licence}"
    try:
        if told.is_file() and line in told.read_text().splitlines():
            return None
        told.parent.mkdir(parents=True, exist_ok=True)
        with open(told, "a") as file:
            file.write(line + "\n")
    except OSError:
        pass  # then it is told again
    return f"{config.name} is under {config.licence}: " + ("not for commercial use" if "nc" in config.licence.lower().split("-") else "see its card")
