"""Matrices as the engine takes them: rounded, as bytes that can lie in a file, and read from there without a copy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stage.models.engine_graph import Matrix
from stage.models.precision import quantize_int8


def pack(weight: Tensor, precision: str) -> Tensor:
    """A matrix [N, K] as bytes [n]: the numbers, then their scales."""
    parts = [weight.float()] if precision == "float32" else list(quantize_int8(weight))
    return torch.cat([part.contiguous().view(-1).view(torch.uint8) for part in parts])


def size(shape: tuple[int, int], precision: str) -> int:
    """Bytes that ``pack`` makes."""
    numbers = shape[0] * shape[1]
    return 4 * numbers if precision == "float32" else numbers + 4 * shape[0]


def unpack(data: np.ndarray, shape: tuple[int, int], precision: str) -> Matrix:
    """The matrix that ``pack`` made bytes of; nothing is copied."""
    if precision == "float32":
        return Matrix(data.view(np.float32).reshape(shape), shape)
    n, k = shape
    return Matrix(data[: n * k].view(np.int8).reshape(shape), shape, data[n * k :].view(np.float32).reshape(n, 1))
