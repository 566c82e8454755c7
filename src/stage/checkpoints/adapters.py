"""Adapters as files: a folder with ``adapter.json`` and ``adapter.safetensors``, found by path or by name.

adapter.json          format, name, stem, rank, alpha, layers, licence; base: name, fingerprint, shape
adapter.safetensors   the weights of ``stage.models.lora.Adapter``
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from stage.checkpoints import paths
from stage.checkpoints.tensors import Files
from stage.errors import StageError
from stage.files import whole_folder
from stage.models.described import described
from stage.models.lora import Adapter, AdapterConfig
from stage.typed import build, read_json

FORMAT = 1
SETTINGS, WEIGHTS = "adapter.json", "adapter.safetensors"


def installed() -> list[Path]:
    """Folders of the installed adapters, by name."""
    return sorted(path.parent for path in paths.adapters().glob(f"*/{SETTINGS}"))


def find(name_or_path: str | Path) -> Path:
    """Folder of an adapter: a path, or the name of an installed one. Raises StageError with what to do."""
    name = str(name_or_path)
    for folder in (Path(name), paths.adapters() / name):
        if paths.is_file(folder / SETTINGS):
            return folder
        if paths.is_file(folder / "adapter_config.json"):
            raise StageError(
                f"{folder} is an adapter of PEFT, which has other layers than STAGE's: merge it with its base by"
                " PEFT's merge_and_unload() and save_pretrained(), then convert that folder (stage convert)"
            )
    if paths.exists(Path(name)):
        raise StageError(f"{name} is not an adapter: a folder with {SETTINGS} is expected")
    names = ", ".join(path.name for path in installed()) or "none"
    raise StageError(f"no adapter '{name[:200]}'; give a folder, or one of those in {paths.adapters()}: {names}")


def describe(name_or_path: str | Path) -> AdapterConfig:
    """Configuration of an adapter, without its weights. Raises StageError with what is wrong."""
    path = find(name_or_path) / SETTINGS
    try:
        written = read_json(path)
        if written.get("format") != FORMAT:
            raise StageError(f"{path} has format {str(written.get('format'))[:40]}; this version reads format {FORMAT}")
        values = {key: written[key] for key in ("name", "stem", "rank", "alpha", "layers", "licence")}
        base = written["base"]
        if not isinstance(base, dict) or not isinstance(base["shape"], dict):
            raise StageError(f"{path}: 'base' and 'base.shape' are sections with keys")
        values |= {"base": base["name"], "fingerprint": base["fingerprint"]}
        values["shape"] = base["shape"] | {"stems": [values["stem"]]}
        return build(AdapterConfig, values, str(path))
    except KeyError as error:
        raise StageError(f"{path} does not describe an adapter: it lacks {error}") from None
    except StageError as error:
        raise StageError(f"{path} does not describe an adapter: {error}") from None


def load(name_or_path: str | Path) -> Adapter:
    """Load an adapter on the CPU, in the precision in which it was stored. Raises StageError with what does not fit."""
    folder = find(name_or_path)
    path = folder / WEIGHTS
    with described():  # nothing is allocated for sizes that the file does not have
        adapter = Adapter(describe(folder))
    own = {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}
    file = Files([path])
    wrong = [f"{n} is missing" for n in own if n not in file] + [f"{n[:80]} is unknown" for n in file if n not in own]
    wrong += [f"{n} is {list(file.shape(n))}, not {list(own[n])}" for n in own if n in file and file.shape(n) != own[n]]
    weights = {} if wrong else dict(file)
    wrong += [
        f"{name} holds numbers that are not finite"
        for name, tensor in weights.items()
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all())
    ]
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
    del shape["stems"]  # an adapter has one of its own
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
