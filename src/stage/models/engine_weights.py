"""Matrices as the engine takes them: rounded, as bytes that can lie in a file, and read from there without a copy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stage.models.engine_graph import GROUP, Matrix
from stage.models.engine_request import BITS
from stage.models.precision import quantize_int8

PLAIN = {"float32": torch.float32, "bf16": torch.bfloat16}
"""Those without scales."""


def quantize_groups(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """weight [N, K] -> (0..15 uint8 [N, K], scale float16 [N, K / GROUP, 1], offset uint8 of that shape).

    weight is about (q - offset) * scale.
    """
    groups = weight.float().unflatten(1, (-1, GROUP))
    low, high = groups.amin(-1, True).clamp(max=0), groups.amax(-1, True).clamp(min=0)
    scale = ((high - low) / 15).clamp(min=1e-7).half()
    offset = (-low / scale.float()).round_().clamp_(0, 15)
    packed = (groups / scale.float()).round_().add_(offset).clamp_(0, 15)
    return packed.flatten(1).byte(), scale, offset.byte()


def pack(name: str, weight: Tensor, precision: str) -> Tensor:
    """A matrix [N, K] as bytes [n]: the numbers, then their scales, then their offsets."""
    if (kind := kind_of(name, weight.shape, precision)) in PLAIN:
        parts = [weight.to(PLAIN[kind]).contiguous()]
    elif kind == "int8":
        parts = list(quantize_int8(weight))
    else:
        numbers, scale, offset = quantize_groups(weight)
        parts = [numbers[:, 0::2] | (numbers[:, 1::2] << 4), scale, offset]
    return torch.cat([part.contiguous().view(-1).view(torch.uint8) for part in parts])


def size(name: str, shape: tuple[int, int], precision: str) -> int:
    """Bytes that ``pack`` makes."""
    kind, numbers = kind_of(name, shape, precision), shape[0] * shape[1]
    if kind in PLAIN:
        return numbers * PLAIN[kind].itemsize
    return {"int8": numbers + 4 * shape[0], "int4": numbers // 2 + numbers // GROUP * 3}[kind]


def unpack(name: str, data: np.ndarray, shape: tuple[int, int], precision: str) -> Matrix:
    """The matrix that ``pack`` made bytes of; nothing is copied."""
    kind, (n, k) = kind_of(name, shape, precision), shape
    if kind in PLAIN:
        return Matrix(data.view(np.float32 if kind == "float32" else BITS).reshape(shape), shape)
    if kind == "int8":
        return Matrix(data[: n * k].view(np.int8).reshape(shape), shape, data[n * k :].view(np.float32).reshape(n, 1))
    groups = (n, k // GROUP, 1)
    scales = data[n * k // 2 : n * k // 2 + 2 * n * k // GROUP].view(np.float16).reshape(groups)
    return Matrix(data[: n * k // 2], shape, scales, data[-(n * k // GROUP) :].reshape(groups))


def kind_of(name: str, shape: tuple[int, ...], precision: str) -> str:
    """What a matrix is stored in: the head's rounding is the most audible, and it is a fiftieth of the weights."""
    return "int8" if precision == "int4" and (name == "head" or shape[1] % GROUP) else precision
