"""Whether a model fits into the memory that is free, checked before it is loaded."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models.decoder import Decoder
from stage.models.described import described
from stage.models.precision import BYTES, compute_dtype, matrices

WORK = 350e6
"""Bytes for the sound of a window, the codec's layers over it, and torch itself."""
GIB = 2**30


def available(device: torch.device | str) -> float:
    """Bytes that are free for us on a device."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    free = [float(psutil.virtual_memory().available)]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:  # a container's share is smaller than the machine's
            free.append(
                float(Path("/sys/fs/cgroup", limit).read_text()) - float(Path("/sys/fs/cgroup", used).read_text())
            )
        except (OSError, ValueError):
            continue
    return min(free)


def parameters(config: DecoderConfig) -> int:
    """How many numbers a decoder of this shape has."""
    with described():
        return sum(parameter.numel() for parameter in Decoder(config).parameters())


def needed(
    folder: Path,
    config: DecoderConfig,
    precision: str,
    device: torch.device | str = "cpu",
    seconds: float = 10.0,
    rate: float = 50.0,
) -> float:
    """Bytes that a model takes at work on one window: weights, caches of both branches, codec and text encoder."""
    with described():
        decoder = Decoder(config)
    packed = {} if precision == "float32" else matrices(decoder)
    size = compute_dtype(precision, device).itemsize
    weights = sum(
        t.numel() * (BYTES[precision] if name in packed else size) for name, t in decoder.state_dict().items()
    )
    caches = 2 * config.layers * config.dim * 3 * seconds * rate * size
    others = sum(
        file.stat().st_size
        for part in ("codec", "text")
        for file in (*folder.glob(f"{part}/*.safetensors"), *folder.glob(f"{part}.safetensors"))
    )
    return weights + caches + others + WORK


def check_memory(folder: Path, config: DecoderConfig, precision: str, device: torch.device | str) -> None:
    """Raise StageError if there is not enough memory, with the precision that would fit."""
    free, need = available(device), needed(folder, config, precision, device)
    if need <= free:
        return
    choices = ("bf16", "int8", "int4") if torch.device(device).type == "cpu" else ("bf16",)
    fitting = [
        (other, size) for other in choices if (size := needed(folder, config, other, device)) <= free and size < need
    ]
    advice = (
        f"choose --precision {fitting[0][0]} (about {fitting[0][1] / GIB:.1f} GiB)"
        if fitting
        else "close other programs, or choose a smaller model"
    )
    raise StageError(
        f"{folder.name} needs about {need / GIB:.1f} GiB in {precision}, and {free / GIB:.1f} GiB are free: {advice}"
    )
