"""Fingerprints: digests of weights, files and audio, by which results of one model are not taken for another's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stage.checkpoints import adapters, installed
from stage.errors import StageError

DIGITS = 16
IGNORED = (".md", ".lock")
"""Endings of files in a model's folder that have no influence on what it plays."""


def of_bytes(*parts: bytes) -> str:
    """Hexadecimal digest of all parts one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:DIGITS]


def of_files(path: str | Path) -> str:
    """Digest of a file, or of the names and contents of all files in a folder but hidden ones and Markdown.

    Raises StageError where one cannot be read.
    """
    path, digest = Path(path), hashlib.sha256()
    if not path.exists():
        raise StageError(f"{path} is not there")
    try:
        for file in [path] if path.is_file() else _files(path):
            if file != path:
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            with file.open("rb") as opened:
                while block := opened.read(1 << 20):
                    digest.update(block)
    except OSError as error:
        raise StageError(f"{path} cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()[:DIGITS]


def _files(folder: Path) -> list[Path]:
    found = (file for file in folder.rglob("*") if file.suffix not in IGNORED and file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def of_model(name_or_path: str, adapters_: Sequence[str] = ()) -> str | None:
    """Digest of a model's files and of those of its adapters; None where the model or an adapter is not at hand."""
    try:
        folders = [installed.find(name_or_path), *(adapters.find(name) for name in adapters_)]
    except StageError:
        return None
    return "+".join(of_files(folder) for folder in folders)


def of_stage(stage: Any) -> dict[str, Any]:
    """How a loaded model is sampled, and a digest of the weights of its decoder, codec and text encoder."""
    digest = hashlib.sha256()
    for part in (stage.decoder, stage.codec, stage.text):
        for name, tensor in sorted(getattr(part, "state_dict", dict)().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return {**vars(stage.config), "weights": digest.hexdigest()[:DIGITS]}
