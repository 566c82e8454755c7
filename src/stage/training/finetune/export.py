"""What a run leaves besides its figures: the resolved recipe, where and with what it ran, and the model with its
card."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from stage import __version__
from stage.checkpoints import adapters
from stage.checkpoints import format as native
from stage.models.decoder import Decoder
from stage.models.lora import Adapter
from stage.pipeline import Stage
from stage.training.finetune.recipe import Recipe, plain

CARD = """---
license: {licence}
pipeline_tag: audio-to-audio
tags: [music, accompaniment, stem, stage]
---
# {name}

{about}{what} that plays {stems}, fine-tuned with [STAGE](https://arxiv.org/abs/2504.05690)'s method on {date} from "{base}".

| | |
| --- | --- |
| what learned | {learned}: {moving:,} parameters |
| steps | {step:,} of {examples} examples ({hours:.1f} h of training) |
| songs | {trained} to train on, {held} held out |
| validation loss | {valid} |
| a wrong context is worse by | {gap} |
| hardware | {hardware} |
| code | {code} |
| licence | {licence} |

{use}
`recipe.yaml` beside this model's run holds every constant; the same recipe, data and base make the same model.
The validation losses are cross-entropies of code tokens (nats) on held-out songs: they tell whether the model listens, not how it sounds.
"""


def environment(fabric: Any) -> dict[str, Any]:
    """Versions and hardware of this process."""
    names = ("torch", "numpy", "lightning-fabric", "transformers", "safetensors", "python-stretch")
    versions = {"stage-music": __version__, "python": platform.python_version()}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    cuda = fabric.device.type == "cuda"
    hardware = {
        "device": torch.cuda.get_device_name(fabric.device) if cuda else platform.processor() or platform.machine(),
        "processes": fabric.world_size,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "cuda": torch.version.cuda if cuda else None,
    }
    return {"versions": versions, "hardware": hardware, "commit": commit()}


def commit() -> str | None:
    """The git commit of the code, with "+" where files were changed since; None outside of a repository."""
    place = Path(__file__).resolve().parent
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=place, capture_output=True, text=True, timeout=20)
        if found.returncode:
            return None
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return found.stdout.strip() + ("+" if changed.stdout.strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def begin(
    run: Path, recipe: Recipe, base: str, songs: tuple[list[str], list[str]], step: int, fabric: Any
) -> dict[str, Any]:
    """Write recipe.yaml and run.json; a start is added to those before. Returns what run.json says."""
    import yaml

    _replace(run / "recipe.yaml", yaml.safe_dump(plain(recipe), sort_keys=False, allow_unicode=True))
    path = run / "run.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {"starts": []}
    known |= {"base": base, "songs": {"train": songs[0], "held out": songs[1]}}
    known["starts"].append(
        {"step": step, "when": datetime.datetime.now().isoformat(timespec="seconds"), **environment(fabric)}
    )
    _replace(path, json.dumps(known, indent=1) + "\n")
    return known


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def export(
    run: Path,
    recipe: Recipe,
    stage: Stage,
    weights: dict[str, torch.Tensor],
    adapter: Adapter | None,
    known: dict[str, Any],
    figures: dict[str, Any],
) -> Path:
    """Write the model (RUN/model) or the adapter (RUN/adapter) with its card; one of an earlier end is replaced.

    stage: base and codec; weights: of the whole decoder, or of the adapter. figures: step, seconds, validation losses.
    Returns the folder.
    """
    place, fresh = run / ("model" if adapter is None else "adapter"), run / ".fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    licence = stage.config.licence if recipe.licence is None else recipe.licence
    name = recipe.name or run.name
    if adapter is None:
        with torch.device("meta"):
            decoder = Decoder(stage.decoder.config)
        decoder.load_state_dict(weights, assign=True)
        config = replace(stage.config, name=name, licence=licence, origin=known["base"])
        native.save(fresh, config, decoder, stage.codec, stage.text)
        use = f"```sh\nstage accompany song.wav --stem {recipe.stems[0]} --model {place}\n```\n"
    else:
        with torch.device("meta"):
            made = Adapter(adapter.config)
        made.load_state_dict(weights, assign=True)
        adapters.save(fresh, made)
        use = (
            f"```sh\nstage accompany song.wav --stem {recipe.stems[0]} --model {known['base']} --adapter {place}\n```\n"
        )
    (fresh / "README.md").write_text(_card(recipe, name, licence, known, figures, adapter, use), encoding="utf-8")
    if place.exists():
        shutil.rmtree(place)
    os.rename(fresh, place)
    return place


def _card(
    recipe: Recipe,
    name: str,
    licence: str,
    known: dict[str, Any],
    figures: dict[str, Any],
    adapter: Adapter | None,
    use: str,
) -> str:
    last = known["starts"][-1]
    losses = {kind: figures.get(f"valid/{kind}") for kind in ("mix", "click")}
    gaps = {kind: figures.get(f"gap/{kind}") for kind in ("mix", "click")}

    def told(values: dict[str, float | None]) -> str:
        return (
            ", ".join(f"{kind} context {value:.3f}" for kind, value in values.items() if value is not None)
            or "not measured"
        )

    return CARD.format(
        name=name,
        about=f"{recipe.about.strip()}\n\n" if recipe.about else "",
        what="A model" if adapter is None else "An adapter (LoRA)",
        stems=", ".join(recipe.stems),
        date=datetime.date.today(),
        base=known["base"],
        learned=recipe.learn.parameters,
        moving=figures["moving"],
        step=figures["step"],
        examples=figures["examples"],
        hours=figures["seconds"] / 3600,
        trained=len(known["songs"]["train"]),
        held=len(known["songs"]["held out"]),
        valid=told(losses),
        gap=told(gaps),
        licence=licence or "not told",
        hardware=f"{last['hardware']['processes']} x {last['hardware']['device']}",
        code=last["commit"] or f"stage-music {__version__}",
        use=use,
    )
