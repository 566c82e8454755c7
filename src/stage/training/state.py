"""What training writes so that a kill at any moment leaves the old file or the new one, and how it is read back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from stage.errors import StageError
from stage.files import whole_file, write_bytes


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a state (plain containers and tensors), whole or not at all. Raises StageError where it cannot be
    written."""
    with whole_file(path, force=True) as partial, writing(path.name), open(partial, "wb") as file:
        torch.save(state, file)


def load(path: Path, remedy: str = "delete it to begin anew", name: Path | None = None) -> dict[str, Any] | None:
    """The state in a file, on the CPU, or None where there is no file; only tensors and plain containers are read.

    Raises StageError, with the remedy, if it is damaged. name: of what is to be deleted then, the file by default.
    """
    if not path.exists():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}")
        return found
    except Exception as error:  # torch has many errors of its own for a damaged file
        raise StageError(f"{name or path} is damaged ({type(error).__name__}): {remedy}") from None


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(whole, metadata))


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Errors of a full disk and the like as one line; torch reports some of them as a RuntimeError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise StageError(f"{what} could not be written ({why}): {ROOM}") from None


ROOM = "make room and start the same command again"
