"""A small SoundFont."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

RATE = 22050


def write(
    path: Path, generators: dict[int, int], preset: dict[int, int] | None = None, bank: int = 0, pair=False
) -> Path:
    """One preset (program 0) of a 500 Hz tone at key 69 that loops; with a 700 Hz tone on the right if pair.

    generators, preset: amounts by number, of the instrument's zones and of the preset's.
    """
    tones = [np.sin(2 * np.pi * hz * np.arange(441) / RATE) * 16000 for hz in ((500, 700) if pair else (500,))]
    words = np.concatenate([np.concatenate([tone, np.zeros(46)]) for tone in tones]).astype("<i2")
    headers = b""
    for i in range(len(tones)):
        start = i * 487
        numbers = (start, start + 441, start, start + 441, RATE, 69, 0, 0, 1)
        headers += struct.pack("<20sIIIIIBbHH", b"tone", *numbers)
    headers += struct.pack("<20sIIIIIBbHH", b"EOS", *[0] * 9)
    zones = [generators | {17: side & 0xFFFF} for side in (-500, 500)] if pair else [generators]
    igen, ibag = b"", b""
    for i, zone in enumerate(zones):
        ibag += struct.pack("<HH", len(igen) // 4, 0)
        # the range of keys comes first, the sample last
        for number, amount in sorted(zone.items(), key=lambda item: item[0] not in (43, 44)):
            igen += struct.pack("<HH", number, amount & 0xFFFF)
        igen += struct.pack("<HH", 53, i)
    ibag += struct.pack("<HH", len(igen) // 4, 0)
    pgen = b"".join(struct.pack("<HH", number, amount & 0xFFFF) for number, amount in (preset or {}).items())
    pgen += struct.pack("<HH", 41, 0)
    chunks = {
        b"phdr": struct.pack("<20sHHHIII", b"one", 0, bank, 0, 0, 0, 0)
        + struct.pack("<20sHHHIII", b"EOP", 0, 0, 1, 0, 0, 0),
        b"pbag": struct.pack("<HHHH", 0, 0, len(pgen) // 4, 0),
        b"pmod": bytes(10),
        b"pgen": pgen + bytes(4),
        b"inst": struct.pack("<20sH", b"one", 0) + struct.pack("<20sH", b"EOI", len(zones)),
        b"ibag": ibag,
        b"imod": bytes(10),
        b"igen": igen + bytes(4),
        b"shdr": headers,
    }
    pdta = b"pdta" + b"".join(_chunk(name, data) for name, data in chunks.items())
    body = _chunk(b"LIST", b"INFO" + _chunk(b"ifil", bytes(4))) + _chunk(
        b"LIST", b"sdta" + _chunk(b"smpl", words.tobytes())
    )
    path.write_bytes(_chunk(b"RIFF", b"sfbk" + body + _chunk(b"LIST", pdta)))
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
