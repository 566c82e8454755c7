"""The matrices of a decoder as its engine takes them, rounded once and kept in a file of the user's.

The file is raw (``stage.models.engine_weights``), and mapped while the engine compiles it. It depends on the weights
and the precision alone, so any processor and any version of the engine may use it.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stage.checkpoints.paths import engine_files
from stage.checkpoints.tensors import Files, finite
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.files import whole_file
from stage.models.decoder import Decoder
from stage.models.described import described
from stage.models.engine import Engine
from stage.models.engine_request import Matrices
from stage.models.precision import matrices

FORMAT = 1
BLOCK = 1 << 16
SAMPLES = 64
"""Blocks of a file of weights that its key is made of, besides its size and time."""
ALIGNED = 64


def engine_of(path: Path, config: DecoderConfig, precision: str) -> Engine:
    """The engine for a decoder of this shape with the weights of a file."""
    return Engine(precision, partial(opened, path, config, precision))


def opened(path: Path, config: DecoderConfig, precision: str) -> Matrices:
    """The matrices of a file of weights.

    Written to the user's folder when that is possible, and then mapped.
    """
    from stage.models.engine_weights import unpack

    places, mapped = _places(config, precision), None
    if precision == "float32":  # as large as the file itself: made anew each time
        packed = dict(_packed(path, places, precision))
    else:
        data, mapped = _mapped(path, places, precision)
        packed = {name: data[start : start + length] for name, (_, start, length) in places.items()}

    def rest() -> None:
        with contextlib.suppress(AttributeError, OSError):  # not every system can
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)

    return Matrices(lambda name: unpack(name, packed[name], places[name][0], precision), rest)


def _places(config: DecoderConfig, precision: str) -> dict[str, tuple[tuple[int, int], int, int]]:
    """Of each matrix its shape [N, K], and where its bytes begin in the file and how many they are."""
    from stage.models.engine_weights import size

    with described():
        decoder = Decoder(config)
    shapes, places, start = dict(decoder.named_parameters()), {}, 0
    for parameter, path in matrices(decoder).items():
        name = "head" if path == "predict" else path
        shape = tuple(shapes[parameter].flatten(0, -2).shape)
        length = size(name, shape, precision)
        places[name] = shape, start, length
        start += -(-length // ALIGNED) * ALIGNED
    return places


def _packed(path: Path, places: dict[str, Any], precision: str) -> Iterator[tuple[str, np.ndarray]]:
    """The matrices of a file of weights one by one, as bytes. Raises StageError for one that is damaged."""
    from stage.models.engine_weights import pack

    file = Files([path])
    for name, (shape, _, _) in places.items():
        stored = name if name == "head" else f"{name}.weight"
        tensor = finite(path, stored, file[stored].float())
        yield name, pack(name, tensor.reshape(shape), precision).numpy()


def _mapped(path: Path, places: dict[str, Any], precision: str) -> tuple[np.ndarray, mmap.mmap | None]:
    """The file of packed matrices as bytes, and its mapping; made where it is missing. In memory alone where it cannot
    be written."""
    _, start, length = list(places.values())[-1]
    folder, kept = engine_files(path)
    kept += f"{precision}-"
    target = folder / f"{kept}{_key(path)}.bin"
    try:
        if not target.is_file() or target.stat().st_size != start + length:
            with whole_file(target, force=True) as partial_, open(partial_, "wb") as file:
                for name, data in _packed(path, places, precision):
                    file.seek(places[name][1])
                    file.write(data)
            for other in folder.glob(f"{kept}*.bin"):  # of weights that have been replaced
                if other != target:
                    other.unlink(missing_ok=True)
        with open(target, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # the engine takes what can be written alone
        return np.frombuffer(mapped, np.uint8), mapped
    except (OSError, StageError):
        data = np.zeros(start + length, np.uint8)
        for name, part in _packed(path, places, precision):
            data[places[name][1] :][: len(part)] = part
        return data, None


def _key(path: Path) -> str:
    """16 digits of a file's size, time and samples of its bytes: reading all of it would take longer than using it."""
    facts = path.stat()
    digest = hashlib.sha256(f"{FORMAT} {facts.st_size} {facts.st_mtime_ns}".encode())
    with open(path, "rb") as file:
        for at in np.linspace(0, max(0, facts.st_size - BLOCK), SAMPLES, dtype=np.int64):
            file.seek(int(at))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()[:16]
