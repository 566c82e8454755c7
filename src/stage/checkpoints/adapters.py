"""Adapters on disk: a folder with ``adapter.json`` and ``adapter.safetensors``, a few megabytes beside a model's gigabytes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..config import DecoderConfig
from ..errors import StageError
from ..models.lora import Lora, LoraConfig
from . import home
from .fill import fill
from .native import whole_folder

FORMAT = 1


def save(path: str | Path, lora: Lora, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write an adapter alone to a new folder, whole or not at all."""
    with whole_folder(Path(path)) as partial:
        save_file({name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in lora.state_dict().items()}, partial / "adapter.safetensors")
        described = {"format": FORMAT, "adapter": dataclasses.asdict(lora.config), "base": dataclasses.asdict(lora.shape)}
        (partial / "adapter.json").write_text(json.dumps(described, indent=2) + "\n")


def find(name_or_path: str | Path) -> Path:
    """Folder of an adapter: a path, or the name of an installed one."""
    for folder in (Path(name_or_path), home.adapters() / str(name_or_path)):
        if (folder / "adapter.json").is_file():
            return folder
    known = ", ".join(sorted(file.parent.name for file in home.adapters().glob("*/adapter.json")))
    raise StageError(f"no adapter '{name_or_path}'; give a folder with adapter.json, or one of those in {home.adapters()}: {known or 'none'}")


def load(name_or_path: str | Path) -> Lora:
    """Read an adapter. Raises StageError with what is missing or does not fit."""
    folder = find(name_or_path)
    try:
        described = json.loads((folder / "adapter.json").read_text())
        if described["format"] != FORMAT:
            raise StageError(f"{folder} has format {described['format']}; this version reads format {FORMAT}")
        lora = Lora(LoraConfig(**described["adapter"]), DecoderConfig(**described["base"]))
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StageError(f"{folder / 'adapter.json'} is not an adapter's configuration: {error}") from None
    return fill(lora, folder / "adapter.safetensors")


def installed() -> list[tuple[Path, LoraConfig, int]]:
    """Folder, configuration and bytes on disk of each installed adapter; a folder that is none is left out."""
    found = []
    for file in sorted(home.adapters().glob("*/adapter.json")):
        try:
            config = LoraConfig(**json.loads(file.read_text())["adapter"])
        except (OSError, KeyError, TypeError, ValueError):
            continue
        found.append((file.parent, config, sum(part.stat().st_size for part in file.parent.iterdir())))
    return found
