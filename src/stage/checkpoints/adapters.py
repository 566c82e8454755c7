"""Adapters as files: a folder with ``adapter.json`` and ``adapter.safetensors``, found by path or by name.

adapter.json          format, name, stem, rank, alpha, layers, licence; base: name, fingerprint, shape
adapter.safetensors   the weights of ``stage.models.lora.Adapter``
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stage.checkpoints import paths as home
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.files import whole_folder
from stage.models.lora import Adapter, AdapterConfig

FORMAT = 1
SETTINGS, WEIGHTS = "adapter.json", "adapter.safetensors"


def installed() -> list[Path]:
    """Folders of the installed adapters, by name."""
    return sorted(path.parent for path in home.adapters().glob(f"*/{SETTINGS}"))


def find(name_or_path: str | Path) -> Path:
    """Folder of an adapter: a path, or the name of an installed one."""
    for folder in (Path(name_or_path), home.adapters() / name_or_path):
        if (folder / SETTINGS).is_file():
            return folder
    if Path(name_or_path).exists():
        raise StageError(f"{name_or_path} is not an adapter: a folder with {SETTINGS} is expected")
    names = ", ".join(path.name for path in installed()) or "none"
    raise StageError(f"no adapter '{name_or_path}'; give a folder, or one of those in {home.adapters()}: {names}")


def describe(name_or_path: str | Path) -> AdapterConfig:
    """Read what an adapter is, without its weights. Raises StageError with what is wrong."""
    path = find(name_or_path) / SETTINGS
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        if written["format"] != FORMAT:
            raise StageError(f"{path} has format {written['format']}; this version reads format {FORMAT}")
        base = written["base"]
        own = {key: written[key] for key in ("name", "stem", "rank", "alpha", "layers", "licence")}
        return AdapterConfig(
            base=base["name"],
            fingerprint=base["fingerprint"],
            shape=DecoderConfig(**base["shape"], stems=(own["stem"],)),
            **own,
        )
    except KeyError as error:
        raise StageError(f"{path} does not describe an adapter: it says nothing of {error}") from None
    except (TypeError, ValueError, AttributeError, OSError) as error:
        raise StageError(f"{path} does not describe an adapter: {error}") from None


def load(name_or_path: str | Path) -> Adapter:
    """Load an adapter on the CPU, in the precision in which it was stored. Raises StageError with what does not fit."""
    folder = find(name_or_path)
    with torch.device("meta"):  # nothing is allocated for sizes that the file does not have
        adapter = Adapter(describe(folder))
    path = folder / WEIGHTS
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise StageError(f"{path} is missing") from None
    except (SafetensorError, OSError) as error:
        raise StageError(f"{path} is not a whole safetensors file: {error}") from None
    own = adapter.state_dict()
    wrong = [f"{n} is missing" for n in own if n not in weights] + [f"{n} is unknown" for n in weights if n not in own]
    for name in own.keys() & weights.keys():
        tensor = weights[name]
        if tensor.shape != own[name].shape:
            wrong.append(f"{name} is {list(tensor.shape)}, not {list(own[name].shape)}")
        elif not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            wrong.append(f"{name} holds what is not a finite number")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise StageError(f"{path} does not fit its {SETTINGS}: {'; '.join(sorted(wrong)[:3])}{more}")
    adapter.load_state_dict(weights, assign=True)
    return adapter.eval().requires_grad_(False)


def save(path: str | Path, adapter: Adapter, dtype: torch.dtype = torch.float32) -> None:
    """Write an adapter to a new folder, whole or not at all. ``dtype``: float32 as trained, or bfloat16 at half the
    size."""
    path, config = Path(path), adapter.config
    shape = dataclasses.asdict(config.shape)
    del shape["stems"]  # an adapter brings its own
    described = {
        "format": FORMAT,
        "name": config.name,
        "stem": config.stem,
        "rank": config.rank,
        "alpha": config.alpha,
        "layers": config.layers,
        "licence": config.licence,
        "base": {"name": config.base, "fingerprint": config.fingerprint, "shape": shape},
    }
    with whole_folder(path) as partial:
        save_file(
            {n: t.detach().to("cpu", dtype).contiguous() for n, t in adapter.state_dict().items()}, partial / WEIGHTS
        )
        (partial / SETTINGS).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
