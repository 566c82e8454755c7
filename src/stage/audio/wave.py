"""WAV files as DAWs exchange them: 24 bits or float, with the chunks that say where they belong and how fast they are.

`bext` (EBU Tech 3285) holds the place on the time line as samples, by which DAWs put a file where it was; `acid` holds
tempo, beats, metre and root note, which loop players read.
"""

from __future__ import annotations

import datetime
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stage.audio.level import BLOCK
from stage.errors import StageError
from stage.files import whole_file

LONGEST = 0xFFFFFFFF - 4096
"""Bytes of sound that a WAV file can hold."""
FULL = 1 << 23
"""Steps of 24 bits from silence to full scale."""


@dataclass(frozen=True)
class Tempo:
    """What the `acid` chunk holds. bpm: quarters a minute. quarters: in the file. metre: like (4, 4). root: pitch class
    of the key, 0 is C; None: not known."""

    bpm: float
    quarters: int
    metre: tuple[int, int] = (4, 4)
    root: int | None = None


def steps(audio: np.ndarray) -> np.ndarray:
    """float32 [..] -> int32 [..], the nearest of 24 bits; what is beyond full scale is clipped."""
    return np.clip(np.rint(np.asarray(audio, np.float64) * FULL), -FULL, FULL - 1).astype(np.int32)


def write(
    path: str | Path,
    audio: np.ndarray,
    rate: int,
    force: bool = False,
    *,
    floats: bool = False,
    first: int = 0,
    description: str = "",
    tempo: Tempo | None = None,
) -> None:
    """Write audio [C, N] as WAV with 24 bits, or as 32-bit floats; whole or not at all.

    first: sample of the time line at which it begins. With 24 bits a value of k / 2^23 is written as k, and read back
    as it was. Raises StageError for more than 4 GB.
    """
    audio = np.atleast_2d(audio)
    channels, samples = audio.shape
    width = 4 if floats else 3
    size = channels * samples * width
    if size > LONGEST:
        raise StageError(f"{path} would have more than 4 GB, which WAV cannot hold: choose FLAC")
    kind = 3 if floats else 1
    head = [
        (b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, rate * channels * width, channels * width, 8 * width))
    ]
    if floats:
        head.append((b"fact", struct.pack("<I", samples)))
    head.append((b"bext", _bext(first, description)))
    if tempo is not None:
        head.append((b"acid", _acid(tempo)))
    before = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in head)
    with whole_file(path, force) as partial, open(partial, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 4 + len(before) + 8 + size + size % 2) + b"WAVE" + before)
        file.write(b"data" + struct.pack("<I", size))
        for at in range(0, samples, BLOCK):
            part = audio[:, at : at + BLOCK].T
            if floats:
                file.write(np.ascontiguousarray(part, "<f4").tobytes())
            else:
                whole = steps(part).astype("<i4")
                file.write(np.ascontiguousarray(whole).view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
        file.write(b"\0" * (size % 2))


def _bext(first: int, description: str) -> bytes:
    """Version 1 of the chunk, without an UMID."""
    now = datetime.datetime.now()
    return struct.pack(
        "<256s32s32s10s8sQH64s190s",
        description.encode("ascii", "replace")[:256],
        b"STAGE",
        b"",
        now.strftime("%Y-%m-%d").encode(),
        now.strftime("%H:%M:%S").encode(),
        first,
        1,
        b"",
        b"",
    )


def _acid(tempo: Tempo) -> bytes:
    known = tempo.root is not None
    upper, lower = tempo.metre
    root = 60 + (tempo.root or 0)
    return struct.pack("<IHHfIHHf", 2 * known, root, 0x8000, 0.0, tempo.quarters, lower, upper, tempo.bpm)
