"""From a checkpoint of another project to a folder of ours: recognised, checked, and written whole or not at all."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from stage.checkpoints import settings
from stage.checkpoints.importers import T5, detect
from stage.checkpoints.licences import MUSICGEN
from stage.checkpoints.tensors import write
from stage.config import StageConfig
from stage.errors import StageError
from stage.files import whole_folder

CARD = """---
license: {licence}
base_model: {origin}
pipeline_tag: audio-to-audio
tags: [music, accompaniment, stem, stage]
---
# {name}

A model for [STAGE](https://arxiv.org/abs/2504.05690), converted on {date} from {kind}: {origin}.

| | |
| --- | --- |
| stems | {stems} |
| parameters of the decoder | {parameters:,} |
| stored in | {dtype} |
| licence | {licence}{terms} |
{note}"""
TERMS = " (Creative Commons, attribution, no commercial use: https://creativecommons.org/licenses/by-nc/4.0/)"
BASE_NOTE = """
This is a base: the rows of the embedding tables that name its stems are freshly drawn, and it has not learned to follow
a context yet. Fine-tune it before you play with it.
"""


def convert(
    source: Path,
    out: Path,
    *,
    stems: Sequence[str] = (),
    name: str = "",
    origin: str = "",
    dtype: torch.dtype | None = None,
    t5: str = T5,
    licence: str = MUSICGEN,
    on_share: Callable[[float], None] | None = None,
) -> None:
    """Write a checkpoint of another project as a folder that `Stage.from_pretrained` reads.

    stems: what the model plays (the authors' checkpoints), or is to learn (bases; none: plain MusicGen). name: in the
    model's card, that of the folder by default. origin: where it is from, the source by default. dtype: float32 or
    bfloat16, as stored by default. t5: folder or hub name of T5, for checkpoints without it or its tokenizer. on_share:
    gets the share of the decoder that is written, 0..1. Raises StageError; nothing half-written is left.
    """
    if out.exists():
        raise StageError(f"{out} exists; choose another folder")
    if not all(0 < len(stem.strip()) <= 100 for stem in stems) or len(set(stems)) < len(stems):
        raise StageError("each --stem has a name of its own, of 1 to 100 letters")
    foreign = detect.read(source, stems, t5)
    shapes = foreign.shapes()
    stored = foreign.weights[foreign.table["norm.weight"][0]].dtype
    dtype = dtype or (stored if stored in (torch.float32, torch.bfloat16) else torch.float32)
    config = StageConfig(name=name or out.name, licence=licence, origin=origin or str(source.name))
    parameters = sum(int(torch.Size(shape).numel()) for shape in shapes.values())
    room(out, parameters * dtype.itemsize)
    with whole_folder(out) as partial:
        made = {ours: (shape, lambda ours=ours: foreign.parameter(ours)) for ours, shape in shapes.items()}
        write(partial / "decoder.safetensors", made, dtype, on_share)
        foreign.codec.save_pretrained(str(partial / "codec"))
        foreign.text.save_pretrained(str(partial / "text"))
        described = {
            "format": settings.FORMAT,
            "stage": dataclasses.asdict(config),
            "decoder": dataclasses.asdict(foreign.decoder),
        }
        described |= {part: {"kind": "transformers"} for part in ("codec", "text")}
        (partial / settings.NAME).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(
            CARD.format(
                licence=config.licence,
                origin=config.origin,
                name=config.name,
                date=datetime.date.today(),
                kind=foreign.kind,
                stems=", ".join(foreign.decoder.stems) or "none: it makes whole music from text",
                parameters=parameters,
                dtype=str(dtype).removeprefix("torch."),
                terms=TERMS if licence.upper() == MUSICGEN else "",
                note=BASE_NOTE if foreign.base and foreign.decoder.stems else "",
            ),
            encoding="utf-8",
            errors="replace",  # of a name whose bytes are not text
        )


def room(out: Path, size: int) -> None:
    """Raise StageError if a folder's disk has no room for so many bytes, and half a gigabyte for the codec and T5
    besides."""
    place = next(folder for folder in (out, *out.resolve().parents) if folder.exists())
    free, need = shutil.disk_usage(place).free, size + 5e8
    if free < need:
        raise StageError(
            f"{out} needs {need / 1e9:.1f} GB on disk, and {free / 1e9:.1f} GB are free: make room, or choose --dtype"
            " bf16"
        )
