"""What a run leaves besides its figures: the whole recipe, versions and hardware, and the model with its card."""

from __future__ import annotations

import datetime
import json
import os
import platform
import secrets
import subprocess
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from stage import __version__
from stage.checkpoints import adapters
from stage.checkpoints import format as native
from stage.files import whole_folder, write_json, write_text
from stage.models.decoder import Decoder
from stage.models.described import described
from stage.models.lora import Adapter
from stage.pipeline import Stage
from stage.training.finetune.recipe import Recipe
from stage.training.recipe import plain

CARD = """---
license: {licence}
pipeline_tag: audio-to-audio
tags: [music, accompaniment, stem, stage]
---
# {name}

{about}{what} that plays {stems}, fine-tuned from "{base}" on {date}
with the method of [STAGE](https://arxiv.org/abs/2504.05690).

| | |
| --- | --- |
| what learned | {learned}: {parameters:,} parameters |
| steps | {step:,} of {examples} examples ({hours:.1f} h of training) |
| songs | {trained} to train on, {held} held out |
| validation loss | {valid} |
| a wrong context is worse by | {gap} |
| hardware | {hardware} |
| code | {code} |
| licence | {licence} |

{use}
`recipe.yaml` beside this model's run holds every constant; the same recipe, data and base make the same model.
The validation losses are cross-entropies of code tokens (nats) on held-out songs: they show whether the
model follows its context, not how it sounds.
"""


OWN = "src/stage/training/finetune/export.py"
"""This file's path in STAGE's repository."""


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
    """The git commit of the code, with "+" where files were changed since; None where this file is not in a clone of
    STAGE's own repository (an installed package may lie in somebody else's)."""
    place = Path(__file__).resolve()
    if _git(place.parent, "ls-files", "--full-name", "--error-unmatch", place.name) != OWN:
        return None
    head, changed = _git(place.parent, "rev-parse", "HEAD"), _git(place.parent, "status", "--porcelain", "-uno")
    return head and head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints in a folder, stripped; None where it fails or is not installed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        found = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, encoding="utf-8", timeout=20, env=environment
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return None if found.returncode else found.stdout.strip()


def begin(
    run: Path, recipe: Recipe, base: str, songs: tuple[list[str], list[str]], step: int, fabric: Any
) -> dict[str, Any]:
    """Write recipe.yaml and run.json; a start is added to those before. Returns what run.json holds."""
    import yaml

    write_text(run / "recipe.yaml", yaml.safe_dump(plain(recipe), sort_keys=False, allow_unicode=True))
    path = run / "run.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        known["starts"] = list(known["starts"])
    except (OSError, ValueError, KeyError, TypeError):
        known = {"starts": []}
    # of this run alone, and the same at each start; earlier versions took the folder's name
    known.setdefault("id", run.name if known["starts"] else secrets.token_hex(8))
    known |= {"base": base, "songs": {"train": songs[0], "held out": songs[1]}}
    known["starts"].append(
        {"step": step, "when": datetime.datetime.now().isoformat(timespec="seconds"), **environment(fabric)}
    )
    write_json(path, known)
    return known


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
    place = run / ("model" if adapter is None else "adapter")
    licence = stage.config.licence if recipe.licence is None else recipe.licence
    name, use = recipe.name or run.name, f"stage accompany song.wav --stem {recipe.stems[0]} --model"
    with described():
        made = Decoder(stage.decoder.config) if adapter is None else Adapter(adapter.config)
    made.load_state_dict(weights, assign=True)
    with whole_folder(place, force=True) as partial:
        partial.rmdir()  # `save` makes it
        if isinstance(made, Adapter):
            adapters.save(partial, made)
            use = f"{use} {known['base']} --adapter {place}"
        else:
            config = replace(stage.config, name=name, licence=licence, origin=known["base"])
            native.save(partial, config, made, stage.codec, stage.text)
            use = f"{use} {place}"
        card = _card(recipe, name, licence, known, figures, adapter, f"```sh\n{use}\n```\n")
        (partial / "README.md").write_text(card, encoding="utf-8")
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

    def listed(values: dict[str, float | None]) -> str:
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
        parameters=figures["trained"],
        step=figures["step"],
        examples=figures["examples"],
        hours=figures["seconds"] / 3600,
        trained=len(known["songs"]["train"]),
        held=len(known["songs"]["held out"]),
        valid=listed(losses),
        gap=listed(gaps),
        licence=licence or "not given",
        hardware=f"{last['hardware']['processes']} x {last['hardware']['device']}",
        code=last["commit"] or f"stage-music {__version__}",
        use=use,
    )
