"""Tensors of safetensors files: as one mapping, read when they are asked for; into a module, strictly; and written one
by one.

So a model is loaded and converted in the memory of its largest matrix.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stage.checkpoints import header
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models.decoder import Decoder
from stage.models.described import described
from stage.models.engine import Engine
from stage.models.malloc import trim
from stage.models.precision import compute_dtype, matrices, replace

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64"}


# ---------------------------------------------------------------- reading


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file of `safetensors`, mapped. Raises StageError for one that is missing or not whole."""
    try:
        with safe_open(str(path), "pt") as file:
            yield file
    except StageError:
        raise
    except FileNotFoundError:
        raise StageError(f"{path} is missing") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise StageError(f"{path} is not a whole safetensors file: {error}") from None


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors. Raises StageError for a file that is missing or not whole."""
    return {name: entry.shape for name, entry in header.read(path).items()}


def is_half(path: Path) -> bool:
    """Whether all of a file's tensors are float16; False for a file that cannot be read."""
    try:
        return {entry.dtype for entry in header.read(path).values()} == {"F16"}
    except StageError:
        return False


class Files(Mapping):
    """The tensors of some safetensors files by name, or only those below a prefix, which their names lose."""

    def __init__(self, paths: list[Path], prefix: str = ""):
        """Raises StageError for a file that is missing or not whole."""
        self.paths, self.prefix = paths, prefix
        self.title = str(paths[0] if len(paths) == 1 else paths[0].parent)
        self.places: dict[str, tuple[Path, tuple[int, ...]]] = {
            name.removeprefix(prefix): (path, shape)
            for path in paths
            for name, shape in shapes(path).items()
            if name.startswith(prefix)
        }

    def below(self, prefix: str) -> Files:
        """The tensors whose names start with a prefix, without it."""
        return Files(self.paths, self.prefix + prefix)

    def __getitem__(self, name: str) -> Tensor:
        # mapped anew for each, so that the pages of a large file do not add up in memory
        with opened(self.places[name][0]) as file:
            return file.get_tensor(self.prefix + name).clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, which is not read."""
        return self.places[name][1]


# ---------------------------------------------------------------- into a module


def check(module: nn.Module, path: Path) -> None:
    """Raise StageError with what a file lacks, what it has too much, and what is of another shape than in
    ``module``."""
    theirs, own = shapes(path), {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    wrong = [f"{n} is missing" for n in own if n not in theirs] + [
        f"{n[:80]} is unknown" for n in theirs if n not in own
    ]
    wrong += [
        f"{n} is {list(theirs[n])}, not {list(shape)}" for n, shape in own.items() if theirs.get(n, shape) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise StageError(f"{path} does not fit its config.json: {'; '.join(wrong[:3])}{more}")


def fill(module: nn.Module, path: Path) -> nn.Module:
    """Load weights strictly; kept in float32 whatever they were stored in."""
    check(module, path)
    module.load_state_dict(dict(_each(path)), assign=True)
    return module.eval().requires_grad_(False)


def fill_decoder(
    config: DecoderConfig,
    path: Path,
    precision: str,
    device: torch.device | str,
    on_share: Callable[[float], None] | None = None,
    kernel: str = "",
    engine: Engine | None = None,
) -> Decoder:
    """A decoder with a file's weights, each packed as soon as it is read (`stage.models.precision`).

    on_share: gets the share that is read, 0..1. kernel: of `stage.models.precision.pack`. engine: holds the matrices in
    place of the decoder. Raises StageError for a file that does not fit.
    """
    with described():
        made = Decoder(config)
    check(made, path)
    packed = {} if precision == "float32" and engine is None else matrices(made)
    rest, dtype, count = {}, compute_dtype(precision, device), len(made.state_dict())
    if engine is not None:
        engine.hold(made, packed.values())
        dtype = torch.float32
    for number, (name, tensor) in enumerate(_each(path, packed if engine is not None else ())):
        if name in packed:
            replace(made, packed[name], tensor, precision, device, kernel)
        else:
            rest[name] = tensor.to(device, dtype)
        if number % 16 == 0:
            del tensor
            trim()
        if on_share is not None:
            on_share((number + 1) / count)
    trim()
    made.load_state_dict(rest, strict=False, assign=True)
    return made.eval().requires_grad_(False)


def _each(path: Path, leave: Collection[str] = ()) -> Iterator[tuple[str, Tensor]]:
    """A file's tensors one by one but for those to leave, float32 copies. Raises StageError for one that holds NaN or
    infinity."""
    for name in shapes(path):
        if name in leave:
            continue
        with opened(path) as file:  # mapped anew for each, see `Files`
            tensor = file.get_tensor(name).to(torch.float32, copy=True)
        yield name, finite(path, name, tensor)


def finite(path: Path, name: str, tensor: Tensor) -> Tensor:
    """The tensor itself. Raises StageError if it holds NaN or infinity."""
    if not tensor.sum().isfinite() and not tensor.isfinite().all():  # the sum is quick, and nearly always enough
        raise StageError(f"{path} is damaged: {name} holds numbers that are not finite; get or make it again")
    return tensor


# ---------------------------------------------------------------- writing


def write(
    path: Path,
    made: Mapping[str, tuple[tuple[int, ...], Callable[[], Tensor]]],
    dtype: torch.dtype,
    on_share: Callable[[float], None] | None = None,
) -> None:
    """Write a safetensors file of tensors that are made one after the other: name -> (shape, maker)."""
    entries, place, size = {}, 0, torch.empty((), dtype=dtype).element_size()
    for name, (shape, _) in made.items():
        length = size * int(torch.Size(shape).numel())
        entries[name] = {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [place, place + length]}
        place += length
    text = json.dumps(entries, separators=(",", ":")).encode()
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
