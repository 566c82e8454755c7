"""Which format a checkpoint of another project has; and, for formats that are not read, the line that names the
remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from stage.checkpoints.importers import T5, audiocraft, authors, musicgen
from stage.checkpoints.importers.foreign import Foreign
from stage.checkpoints.paths import exists
from stage.checkpoints.pretrained import plainly
from stage.errors import MissingFile, StageError
from stage.typed import read_json

KNOWN = "a folder of a MusicGen (transformers or audiocraft), or the safetensors file of the authors' STAGE"


_PICKLE = (
    "{} is a pickle, which is not opened here: save the model with save_pretrained of transformers, as safetensors,"
    " and give that folder"
)


class Importer(Protocol):
    """A module that reads one format."""

    @staticmethod
    def recognises(source: Path) -> bool:
        """Whether a file or folder has this format, by its names. Raises nothing."""
        ...

    @staticmethod
    def read(source: Path, stems: Sequence[str] = (), t5: str = T5) -> Foreign:
        """Its shape, codec and text encoder; the decoder's weights are read when they are asked for.

        stems: what it plays, or is to learn. t5: folder or hub name of T5, for checkpoints without it or its tokenizer.
        Raises StageError where it is not whole, or of a kind that is not supported.
        """
        ...


IMPORTERS: tuple[Importer, ...] = (musicgen, audiocraft, authors)


def read(source: Path, stems: Sequence[str] = (), t5: str = T5) -> Foreign:
    """Recognise a checkpoint and read it, see `Importer.read`. Raises StageError for one of no known format."""
    if not exists(source):
        raise MissingFile(f"{source} does not exist: give {KNOWN}")
    for importer in IMPORTERS:
        if importer.recognises(source):
            with plainly(f"{source} is not a whole checkpoint"):  # of what its names promise
                return importer.read(source, stems, t5)
    raise StageError(remedy(source))


def remedy(source: Path) -> str:
    """What is wrong with a checkpoint that no importer recognises, and what to do."""
    folder = source if source.is_dir() else source.parent
    if source.suffix in (".ckpt", ".pt", ".pth") and source.is_file():
        return _PICKLE.format(source)
    if source.is_file() and any(importer.recognises(folder) for importer in IMPORTERS):
        return f"{source} is a part of a model: give its folder, {folder}"
    if (folder / "adapter_config.json").is_file():
        return _peft(folder)
    if (folder / "adapter.json").is_file():
        return f"{folder} is an adapter of STAGE: use it with --adapter {folder}, or merge it with stage adapters merge"
    if source.suffix == ".th" or (source.is_dir() and any(source.glob("*.th"))):
        return (
            f"{source} is a training checkpoint of audiocraft (dora): export it with audiocraft.utils.export"
            f" (export_lm and export_encodec), and give the folder with {audiocraft.DECODER} and {audiocraft.CODEC}"
        )
    for one, other in ((audiocraft.DECODER, audiocraft.CODEC), (audiocraft.CODEC, audiocraft.DECODER)):
        if (folder / one).is_file():
            return f"{folder} holds {one} alone: audiocraft exports {other} too, put both into one folder"
    if source.suffix == ".bin" and source.is_file():
        return _PICKLE.format(source)
    values = _settings(folder) if source.is_dir() else {}
    if {"format", "stage"} <= set(values):
        return f"{source} is a model of STAGE already: use it as it is, with --model {source}"
    kind = values.get("model_type")
    if isinstance(kind, str) and kind.startswith("musicgen"):
        return (
            f"{source} is a model of the kind {kind[:80]}, which follows a melody: give the plain MusicGen of its size"
        )
    if isinstance(kind, str):
        return f"{source} is a model of the kind {kind[:80]}: give {KNOWN}"
    return f"{source} is not a checkpoint of a known format: give {KNOWN}"


def _peft(folder: Path) -> str:
    try:
        values = read_json(folder / "adapter_config.json")
    except StageError:
        values = {}
    base = values.get("base_model_name_or_path")
    return (
        f"{folder} is an adapter of PEFT, not a whole model: merge it with its base"
        f"{f' ({base[:80]})' if isinstance(base, str) else ''}, by PEFT's merge_and_unload() and save_pretrained(), and"
        " convert the folder of that"
    )


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / "config.json")
    except StageError:
        return {}
