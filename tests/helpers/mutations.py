"""Damage to the files of a model, drawn from a seed: wrong values in JSON, flipped and missing bytes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ODD = [None, -1, 0, 1, 1e9, 10**12, 2**63, 10**400, "x", "", [], {}, True, float("nan"), float("inf"), 0.5, "1", [1]]


def _places(values: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in parsed JSON."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [place for key, value in items for place in ((values, key), *_places(value))]


def damage_json(data: bytes, draw: random.Random) -> bytes:
    """Another value, a missing or a strange key somewhere in JSON; or other bytes."""
    if draw.random() < 0.2:
        return damage_bytes(data, draw)
    values = json.loads(data)
    place, key = draw.choice(_places(values))
    how = draw.random()
    if how < 0.15:
        place.pop(key)
    elif how < 0.25 and isinstance(place, dict):
        place["strange"] = draw.choice(ODD)
    else:
        place[key] = draw.choice(ODD)
    return json.dumps(values).encode()


def damage_bytes(data: bytes, draw: random.Random) -> bytes:
    """Some other bytes, a file that is cut, or an empty one."""
    how, changed = draw.random(), bytearray(data)
    if how < 0.6 and data:
        for _ in range(3):
            changed[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(changed)
    return data[: draw.randrange(len(data) + 1)] if how < 0.9 else b""


def damage_safetensors(data: bytes, draw: random.Random) -> bytes:
    """Another header, another length of it, or damaged bytes."""
    length = int.from_bytes(data[:8], "little")
    how = draw.random()
    if how < 0.5:
        header = damage_json(data[8 : 8 + length], draw)
        return (len(header) if draw.random() < 0.9 else length).to_bytes(8, "little") + header + data[8 + length :]
    if how < 0.7:
        return draw.randbytes(8) + data[8:] if how < 0.6 else (1 << draw.randrange(64)).to_bytes(8, "little") + data[8:]
    return damage_bytes(data, draw)


def damage(path: Path, draw: random.Random) -> None:
    """Damage a file as its name suggests."""
    data = path.read_bytes()
    if path.suffix == ".json":
        data = damage_json(data, draw)
    else:
        data = (damage_safetensors if path.suffix == ".safetensors" else damage_bytes)(data, draw)
    path.write_bytes(data)
