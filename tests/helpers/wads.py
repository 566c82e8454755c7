"""Music of Freedoom (BSD licence; Debian's package `freedoom`): MIDI files in lumps of WAD files, names D_...

A WAD begins with "IWAD", the number of its lumps and where their table stands; a row of the table is a lump's place,
its length and its name (eight bytes, padded with zeros). All numbers are little-endian and have 32 bits.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

WADS = ("freedoom1.wad", "freedoom2.wad")


def music(out: Path) -> int:
    """Write the songs of Freedoom as MIDI files, each once; returns how many. Skips the test where there are no WADs:
    they are looked for in the folder that $STAGE_FREEDOOM names and where Debian puts them."""
    folder = Path(os.environ.get("STAGE_FREEDOOM", "/usr/share/games/doom"))
    wads = [folder / name for name in WADS if (folder / name).is_file()]
    if not wads:
        pytest.skip("Freedoom is not on this machine: apt-get install freedoom, or name its folder in STAGE_FREEDOOM")
    seen = set()
    for wad in wads:
        data = wad.read_bytes()
        count, table = struct.unpack_from("<ii", data, 4)
        for row in range(table, table + 16 * count, 16):
            place, length, name = struct.unpack_from("<ii8s", data, row)
            lump = data[place : place + length]
            if name.startswith(b"D_") and lump[:4] == b"MThd" and lump not in seen:
                seen.add(lump)
                (out / f"{wad.stem}-{name.rstrip(bytes(1)).decode()}.mid").write_bytes(lump)
    return len(seen)
