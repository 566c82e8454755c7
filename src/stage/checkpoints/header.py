"""What safetensors files hold, read off their headers: names, types and shapes, without a tensor and without torch.

A file is: length of the header (8 bytes, little endian), the header in JSON, the bytes of the tensors.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stage.errors import StageError
from stage.typed import parse_json, read_json

LIMIT = 100_000_000
"""Bytes of a header, as `safetensors` limits them."""
SIZES = {"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
SIZES |= {"I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of a number, by the format's names of types."""


@dataclass(frozen=True)
class Entry:
    """A tensor in a file. dtype: the format's name, like F32 or BF16."""

    dtype: str
    shape: tuple[int, ...]


def read(path: Path) -> dict[str, Entry]:
    """The tensors of a file by name. Raises StageError for a file that is missing or not whole."""
    text, size = _text(path)
    length = len(text)
    header = parse_json(text, f"{path} is not a whole safetensors file: its header")
    header.pop("__metadata__", None)
    entries, ends = {}, [0]
    for name, described in header.items():
        entries[name], end = _entry(path, name, described)
        ends.append(end)
    if max(ends) != size - 8 - length:
        raise _broken(path, f"{size - 8 - length} bytes of tensors, not {max(ends)}")
    return entries


def _text(path: Path) -> tuple[bytes, int]:
    """The header of a file, and the size of the file. Raises StageError for a file that has none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            text = file.read(length) if length <= min(LIMIT, size - 8) else None
    except FileNotFoundError:
        raise StageError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if text is None:
        raise _broken(path, "its header is longer than the file, or than 100 MB")
    return text, size


def _entry(path: Path, name: str, described: Any) -> tuple[Entry, int]:
    """A tensor of a header, and where it ends."""
    try:
        dtype, shape, (first, end) = described["dtype"], tuple(described["shape"]), described["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise _broken(path, f"its header does not describe {name[:80]}") from None
    numbers = (*shape, first, end)
    if not isinstance(dtype, str) or not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
        raise _broken(path, f"its header does not describe {name[:80]}")
    if dtype in SIZES and math.prod(shape) * SIZES[dtype] != end - first:
        raise _broken(path, f"{name[:80]} has {end - first} bytes, which is not its shape")
    return Entry(dtype, shape), end


def _broken(path: Path, why: str) -> StageError:
    return StageError(f"{path} is not a whole safetensors file: {why}")


def files_of(folder: Path) -> list[Path]:
    """The safetensors files of a folder in the layout of ``transformers``: one, or the shards that an index names.

    Raises StageError for an index that cannot be read, or that names files outside of the folder.
    """
    index = folder / "model.safetensors.index.json"
    return [folder / shard for shard in shards(index)] if index.is_file() else [folder / "model.safetensors"]


def shards(index: Path) -> list[str]:
    """The files that an index names, sorted. Raises StageError as `files_of` does."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise StageError(f"{index} is not an index of shards: it has no 'weight_map' of names to files")
    names = sorted(set(places.values()))
    for name in names:
        if not is_plain(name):
            raise StageError(f"{index} names {name[:80]!r}, which is not a file beside it: it was not opened")
    return names


def is_plain(name: str) -> bool:
    """Whether a name that is read from a file is the name of a file beside it: not hidden, without separators, drives
    and control characters."""
    return bool(name) and not name.startswith(".") and not set(name) & set('/\\:*?"<>|') and name.isprintable()
