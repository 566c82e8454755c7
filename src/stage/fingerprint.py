"""Fingerprints: 16 hexadecimal digits of bytes, plain values, files or weights, by which what was computed from them is
recognised."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from stage.errors import StageError

DIGITS = 16
IGNORED = (".md", ".lock")
"""Endings of files in a model's folder that have no influence on what it plays."""


def of_bytes(*parts: bytes) -> str:
    """Of all parts one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:DIGITS]


def of_values(values: Any) -> str:
    """Of plain values, and arrays, dataclasses and paths among them."""

    def simple(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        return value.tolist() if isinstance(value, np.ndarray) else str(value)

    return of_bytes(json.dumps(values, default=simple, sort_keys=True).encode())


def of_files(path: str | Path) -> str:
    """Of a file, or of the names and contents of all files in a folder but hidden ones and Markdown.

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


def of_weights(module: Any) -> str:
    """Of the weights of a model's part, a ``torch.nn.Module`` or one that holds its module as ``model``."""
    import torch

    module = module if isinstance(module, torch.nn.Module) else module.model
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.ndim:
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(tensor.item()).encode())
    return digest.hexdigest()[:DIGITS]
