"""From a safetensors file into a module: strictly, tensor by tensor, in the precision that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models.decoder import Decoder
from stage.models.malloc import trim
from stage.models.precision import compute_dtype, matrices, replace


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors. Raises StageError for a file that is missing or not whole."""
    try:
        with safe_open(str(path), "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except FileNotFoundError:
        raise StageError(f"{path} is missing") from None
    except (SafetensorError, OSError) as error:
        raise StageError(f"{path} is not a whole safetensors file: {error}") from None


def halves(path: Path) -> bool:
    """Whether all of a file's tensors are float16; False for a file that cannot be read."""
    try:
        with safe_open(str(path), "pt") as file:
            return {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}
    except (SafetensorError, OSError):
        return False


def tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """A file's tensors one by one, float32 copies. The file is mapped anew for each, so that its pages do not add up in
    memory."""
    for name in shapes(path):
        with safe_open(str(path), "pt") as file:
            yield name, file.get_tensor(name).to(torch.float32, copy=True)


def check(module: nn.Module, path: Path) -> None:
    """Raise StageError with what a file lacks, what it has too much, and what is of another shape than in
    ``module``."""
    theirs, own = shapes(path), {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    wrong = [f"{n} is missing" for n in own if n not in theirs] + [f"{n} is unknown" for n in theirs if n not in own]
    wrong += [
        f"{n} is {list(theirs[n])}, not {list(shape)}" for n, shape in own.items() if theirs.get(n, shape) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise StageError(f"{path} does not fit its config.json: {'; '.join(wrong[:3])}{more}")


def fill(module: nn.Module, path: Path) -> nn.Module:
    """Load weights strictly; kept in float32 whatever they were stored in."""
    check(module, path)
    module.load_state_dict(dict(tensors(path)), assign=True)
    return module.eval().requires_grad_(False)


def fill_decoder(
    config: DecoderConfig,
    path: Path,
    precision: str,
    device: torch.device | str,
    on_share: Callable[[float], None] | None = None,
) -> Decoder:
    """A decoder with a file's weights, each packed as soon as it is read (`stage.models.precision`).

    on_share: told the share that is read, 0..1. Raises StageError for a file that does not fit.
    """
    with torch.device("meta"):
        made = Decoder(config)
    check(made, path)
    packed = {} if precision == "float32" else matrices(made)
    rest, dtype, count = {}, compute_dtype(precision, device), len(made.state_dict())
    for number, (name, tensor) in enumerate(tensors(path)):
        if name in packed:
            replace(made, packed[name], tensor, precision, device)
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
