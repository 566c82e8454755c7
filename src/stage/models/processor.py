"""What the processor can do. Every choice that depends on it calls ``processor()``, so that a test can set the answer.

    with pretend(bf16=True): ...        # as on a processor with AVX512-BF16 or AMX
    with pretend(fbgemm=False): ...     # as on ARM

What a pretended processor has and the real one lacks is computed by plain arithmetic (``models/precision.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from stage.errors import StageError


@dataclass(frozen=True)
class Processor:
    """What the kernels for low precision are chosen by.

    bf16: multiplies bf16 by instructions of its own (AVX512-BF16, AMX). vnni: adds up products of bytes in 32 bits.
    fbgemm: PyTorch has FBGEMM here (on x86), which multiplies float32 with float16 weights.
    byte_rows: FBGEMM also multiplies bytes with bytes and returns float32 (``precision.Int8RowsLinear``).
    """

    bf16: bool
    vnni: bool
    fbgemm: bool
    byte_rows: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "byte_rows", self.byte_rows and self.fbgemm)


@lru_cache(maxsize=1)
def detected() -> Processor:
    """The processor that this process runs on."""

    def has(*names: str) -> bool:
        asks = [getattr(torch.cpu, name, None) for name in names]
        return any(ask is not None and bool(ask()) for ask in asks)

    return Processor(
        bf16=has("_is_amx_tile_supported", "_is_avx512_bf16_supported"),
        vnni=has("_is_vnni_supported", "_is_avx512_vnni_supported"),
        fbgemm="fbgemm" in torch.backends.quantized.supported_engines,
        byte_rows=hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32"),
    )


_pretended: list[Processor] = []


def processor() -> Processor:
    """The detected processor, or the one that ``pretend`` sets."""
    return _pretended[-1] if _pretended else detected()


@contextmanager
def pretend(**changes: bool) -> Iterator[Processor]:
    """For tests: within, ``processor()`` differs from the detected one by these fields."""
    _pretended.append(replace(processor(), **changes))
    try:
        yield _pretended[-1]
    finally:
        _pretended.pop()


def device_for(name: str | torch.device | None = None) -> torch.device:
    """A device to compute on; without a name the GPU where there is one. Raises StageError where it is missing."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise StageError(f'"{name}" is not a device: choose cpu, cuda, cuda:1 or mps') from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            has = f"the GPUs here are cuda:0 to cuda:{count - 1}" if count else "PyTorch finds no GPU here"
            raise StageError(f"there is no device {device}: {has}. Choose cpu, or leave the device out")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise StageError("there is no device mps: PyTorch finds no GPU of Apple's here. Choose cpu")
    elif device.type != "cpu":
        raise StageError(f'the device "{device}" is not supported: choose cpu, cuda, cuda:1 or mps')
    return device
