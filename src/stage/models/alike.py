"""A variation's numbers do not depend on how many are made together with it, to the last bit.

Matrix kernels may add up in another order when they are given more rows, and one sum that differs in its last bit can
turn a draw: from there on it is other music. So a step on a CPU computes each variation by the very calls that would
compute it alone. The exceptions are linear layers, which must read their weights once for all variations: they take
several at once where a trial of the same shape shows that every bit is the same. Most kernels pass: those for few rows
add up along the inputs, one output at a time.

Rows [branches * V, D] are those of V variations for each branch of the guidance, the first branch's first. On GPUs all
rows are computed together, and last bits may depend on V.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = tuple[type, int, int]
"""What the kernel of a linear layer without bias depends on besides its rows: its type, its inputs and outputs."""

TRIALS = 3
"""Sets of rows that a kernel is tried with."""
SIZES = (16, 8, 4, 2)
"""Variations at once that are tried where all of them together are not computed alike."""

_verdicts: dict[tuple, bool] = {}


def separately(x: Tensor, variations: int) -> bool:
    """Whether each variation is to be computed by itself. What is compiled is for GPUs."""
    return variations > 1 and x.device.type == "cpu" and not torch.compiler.is_compiling()


def apart(function: Callable[[Tensor], Tensor], x: Tensor, variations: int) -> Tensor:
    """function of rows x [branches * V, ...], for each variation on its own on CPUs: [branches * V, ...]."""
    if not separately(x, variations):
        return function(x)
    return _blocks(function, x, variations, [1] * variations)


def together(linear: nn.Module | Callable[[Tensor], Tensor], x: Tensor, variations: int, kind: Kind) -> Tensor:
    """A linear layer over rows x [branches * V, in]: [branches * V, out], each variation as if it were alone.

    kind: of ``kind_of``. A layer whose weights are packed has ``like``, which packs others in the same way.
    """
    if not separately(x, variations):
        return linear(x)
    return _blocks(linear, x, variations, _plan(linear, x, variations, kind))


def kind_of(linear: nn.Module) -> Kind:
    """The kind of a linear layer without bias."""
    return type(linear), linear.in_features, linear.out_features


def _blocks(function: Callable[[Tensor], Tensor], x: Tensor, variations: int, sizes: list[int]) -> Tensor:
    """function of x with so many variations at a time."""
    if len(sizes) == 1:
        return function(x)
    parts, first = x.unflatten(0, (-1, variations)), 0
    branches, made = int(parts.shape[0]), []
    for size in sizes:
        block = parts.narrow(1, first, size).flatten(0, 1).contiguous()  # other strides take other kernels
        made.append(function(block).unflatten(0, (branches, size)))
        first += size
    return torch.cat(made, 1).flatten(0, 1)


def _plan(linear: Callable[[Tensor], Tensor], x: Tensor, variations: int, kind: Kind) -> list[int]:
    """How many variations to compute at a time: as many as are computed alike."""
    plan, branches = [], int(x.shape[0]) // variations  # int: a trace takes shapes for tensors
    while left := variations - sum(plan):
        sizes = (size for size in (left, *SIZES) if size <= left)
        plan.append(next((size for size in sizes if _is_alike(linear, x, branches, size, kind)), 1))
    return plan


def _is_alike(linear: Callable[[Tensor], Tensor], x: Tensor, branches: int, size: int, kind: Kind) -> bool:
    """Whether so many variations at once come out as each of them alone, by trial; kept for the process.

    A kernel is chosen by shapes and threads, not by values. So it is tried with values whose sums are zero: what comes
    out is the rounding of the partial sums alone, and shows the order in which they were added up.
    """
    inputs, outputs = kind[1:]
    key = (kind, x.dtype, branches, size, torch.get_num_threads())
    if key in _verdicts:
        return _verdicts[key]
    if size == 1 or torch.jit.is_tracing():  # a trial within a trace would become part of it
        return size == 1
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randperm(inputs, generator=draw)[: inputs // 2 * 2].chunk(2)
    weight = torch.randint(0, 2, (outputs, inputs), generator=draw).mul_(2).sub_(1).float()
    weight[:, other] = weight[:, one]
    tried = linear.like(weight) if hasattr(linear, "like") else partial(F.linear, weight=weight.to(x.dtype))
    verdict = True
    for _ in range(TRIALS):
        values = torch.randn(branches, size, len(one), generator=draw)
        values = values * torch.exp2(torch.randint(-8, 9, values.shape, generator=draw))
        rows = torch.zeros(branches, size, inputs, dtype=x.dtype)
        rows[..., one] = values.to(x.dtype)
        rows[..., other] = -rows[..., one]
        found = tried(rows.flatten(0, 1)).unflatten(0, (branches, size))
        alone = torch.stack([tried(rows[:, i].contiguous()) for i in range(size)], 1)
        verdict = verdict and torch.equal(found, alone)
    _verdicts[key] = verdict
    return verdict
