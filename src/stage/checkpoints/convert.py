"""From a checkpoint of another project to a folder of ours: recognised, checked, and written whole or not at all."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from stage.checkpoints.format import FORMAT
from stage.checkpoints.importers import audiocraft, authors, musicgen
from stage.checkpoints.importers.detect import MUSICGEN_LICENCE, T5, Foreign
from stage.checkpoints.tensors import write
from stage.config import StageConfig
from stage.errors import StageError
from stage.files import whole_folder

KNOWN = "a folder of a MusicGen (transformers or audiocraft), or the safetensors file of the authors' STAGE"
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


def read(source: Path, stems: Sequence[str] = (), t5: str = T5) -> Foreign:
    """Recognise a checkpoint and read its shape, codec and text encoder. Raises StageError for what is none, or not
    whole.

    stems: what it plays, or is to learn. t5: folder or hub name of T5, for checkpoints without its tokenizer or without
    it.
    """
    if not source.exists():
        raise StageError(f"{source} does not exist: give {KNOWN}")
    if source.is_dir() and musicgen.is_musicgen(source):
        return musicgen.read(source, stems)
    if source.is_dir() and audiocraft.is_audiocraft(source):
        return audiocraft.read(source, stems, t5)
    if source.is_file() and authors.is_authors(source):
        return authors.read(source, _stem(source, stems), t5)
    if source.is_dir() and {"format", "stage"} <= set(musicgen.described(source)):
        raise StageError(f"{source} is a model of STAGE already: use it as it is, with --model {source}")
    kind = musicgen.described(source).get("model_type")
    raise StageError(
        f"{source} is {f'a model of the kind {kind}' if kind else 'no checkpoint that is known here'}: give {KNOWN}"
    )


def _stem(file: Path, stems: Sequence[str]) -> str:
    """What an authors' checkpoint plays: told, or said by its file's name (stage-drums.safetensors)."""
    if len(stems) > 1:
        raise StageError(f"{file} plays one stem, not {len(stems)}: give --stem once")
    named = [stem for stem in ("drums", "bass") if stem in file.stem.lower()]
    if not stems and len(named) != 1:
        raise StageError(f"{file} does not say which stem it plays: add --stem drums, or whatever it is")
    return stems[0] if stems else named[0]


def convert(
    source: Path,
    out: Path,
    *,
    stems: Sequence[str] = (),
    name: str = "",
    origin: str = "",
    dtype: torch.dtype | None = None,
    t5: str = T5,
    licence: str = MUSICGEN_LICENCE,
    on_share: Callable[[float], None] | None = None,
) -> None:
    """Write a checkpoint of another project as a folder that `Stage.from_pretrained` reads.

    stems: what the model plays (the authors' checkpoints), or is to learn (bases; none: plain MusicGen). name: in the
    model's card,
    that of the folder by default. origin: where it is from, the source by default. dtype: float32 or bfloat16, as
    stored by default.
    on_share: told the share of the decoder that is written, 0..1. Raises StageError; nothing half-written is left.
    """
    foreign = read(source, stems, t5)
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
            "format": FORMAT,
            "stage": dataclasses.asdict(config),
            "decoder": dataclasses.asdict(foreign.decoder),
        }
        described |= {part: {"kind": "transformers"} for part in ("codec", "text")}
        (partial / "config.json").write_text(json.dumps(described, indent=2) + "\n")
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
                terms=TERMS if licence.upper() == MUSICGEN_LICENCE else "",
                note=BASE_NOTE if foreign.base and foreign.decoder.stems else "",
            )
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
