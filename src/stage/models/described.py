"""Modules that are only described: names, shapes and dtypes of their weights, no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

FILLED = {
    *(getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")),
    Tensor.normal_,
    Tensor.uniform_,
}
"""What fills the tensor that it gets first, and returns it."""
DRAWN = {torch.randn, torch.rand}


class _Undrawn(TorchFunctionMode):
    """Nothing is drawn: on the device "meta" that does nothing, but loads torch's compiler, for a second or more."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        options = dict(kwargs or {})
        if func in FILLED:
            return args[0] if args else options["tensor"]
        if func in DRAWN:
            options.pop("generator", None)
            return torch.empty(*args, **options)
        return func(*args, **options)


@contextmanager
def described() -> Iterator[None]:
    """Modules that are made within have parameters on the device "meta"."""
    with torch.device("meta"), _Undrawn():
        yield


def drawn(std: float, *shape: int) -> nn.Parameter:
    """A parameter of normally distributed values. Without a product, which loads the compiler as well."""
    return nn.Parameter(nn.init.normal_(torch.empty(shape), std=std))
