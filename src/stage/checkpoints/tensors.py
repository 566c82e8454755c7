"""Safetensors files as one mapping from names to tensors, each read when it is asked for; and files written tensor by
tensor.

So a model is converted in the memory of its largest matrix.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stage.errors import StageError

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64"}


class Files(Mapping):
    """The tensors of some safetensors files by name, or only those below a prefix, which their names lose."""

    def __init__(self, paths: list[Path], prefix: str = ""):
        """Raises StageError for a file that is missing or not whole."""
        self.paths, self.prefix, self.where = paths, prefix, {}
        self.title = str(paths[0] if len(paths) == 1 else paths[0].parent)
        for path in paths:
            try:
                with safe_open(str(path), "pt") as file:
                    self.where.update(
                        {name.removeprefix(prefix): path for name in file.keys() if name.startswith(prefix)}
                    )
            except FileNotFoundError:
                raise StageError(f"{path} is missing") from None
            except (SafetensorError, OSError) as error:
                raise StageError(f"{path} is not a whole safetensors file: {error}") from None

    def below(self, prefix: str) -> Files:
        """The tensors whose names start with a prefix, without it."""
        return Files(self.paths, self.prefix + prefix)

    def __getitem__(self, name: str) -> Tensor:
        # mapped anew for each, so that the pages of a large file do not add up in memory
        with safe_open(str(self.where[name]), "pt") as file:
            return file.get_tensor(self.prefix + name).clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self.where)

    def __len__(self) -> int:
        return len(self.where)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor that is not read for it."""
        with safe_open(str(self.where[name]), "pt") as file:
            return tuple(file.get_slice(self.prefix + name).get_shape())


def safetensors_of(folder: Path) -> list[Path]:
    """The safetensors files of a folder in the layout of ``transformers``: one, or the shards that an index names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError):
            raise StageError(f"{index} is not an index of shards") from None
        return [folder / shard for shard in shards]
    return [folder / "model.safetensors"]


def write(
    path: Path,
    made: Mapping[str, tuple[tuple[int, ...], Callable[[], Tensor]]],
    dtype: torch.dtype,
    on_share: Callable[[float], None] | None = None,
) -> None:
    """Write a safetensors file of tensors that are made one after the other: name -> (shape, maker).

    The format: length of the header (8 bytes), header in JSON with the place of each tensor, then their bytes.
    """
    header, place, size = {}, 0, torch.empty((), dtype=dtype).element_size()
    for name, (shape, _) in made.items():
        length = size * int(torch.Size(shape).numel())
        header[name] = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [place, place + length]}
        place += length
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for number, (name, (shape, make)) in enumerate(made.items()):
            tensor = make()
            if tuple(tensor.shape) != tuple(shape):
                raise StageError(f"{name} came out as {list(tensor.shape)}, not {list(shape)}")
            file.write(tensor.to(dtype).contiguous().view(torch.uint8).numpy())
            if on_share is not None:
                on_share((number + 1) / len(made))
