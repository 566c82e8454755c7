"""A prepared set on disk or in an object store: tar shards that WebDataset streams and that can be read at any place.

OUT/index.json       {"format", "rate", "settings", "shards": [{name, sha256, bytes, songs: [{id, offset, size, stems:
{role: [offset, size]}}]}]}
OUT/shard-00000.tar  KEY.json (the song's description) and KEY.ROLE.flac (a mono stem of 16 bits) for each song,
side by side
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from stage.data.song import Problem, Song, Track, open_file
from stage.errors import StageError

INDEX, FORMAT = "index.json", 1
LARGEST_TEXT = 100_000_000
"""Bytes. What describes a song is far smaller."""


def fits(path: Path) -> bool:
    """Whether `stage prepare` made this folder."""
    return (path / INDEX).exists()


def songs(path: Path | str, problems: list[Problem]) -> list[Song]:
    """All songs of a prepared folder, or of a URL that fsspec reads (s3://, gs://, memory://, ...). A shard that cannot
    be read, and a song that the index describes wrongly, are problems."""
    found = []
    for shard in read_index(path)["shards"]:
        place = f"{path}/{shard['name']}"
        try:
            with open_file(place) as file:
                for entry in shard["songs"]:
                    try:
                        found.append(_song(file, entry, place))
                    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                        name = str(entry.get("id"))[:200] if isinstance(entry, dict) else "?"
                        problems.append(
                            Problem(name, "damaged song", f"{place}: {error!r:.200}; stage prepare makes it again")
                        )
        except (OSError, StageError) as error:
            problems.append(
                Problem(shard["name"], "unreadable shard", f"{place}: {error}; stage prepare makes it again")
            )
    return found


def read_index(path: Path | str) -> dict[str, Any]:
    """index.json, of which the shards' names are checked: they are files beside it, and have songs.

    Raises StageError where it is missing, damaged, or of another version of STAGE.
    """
    try:
        with open_file(f"{path}/{INDEX}") as file:
            index = json.loads(file.read())
    except StageError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise StageError(f"{path} is not a prepared set: {INDEX} cannot be read ({error})") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        version = index.get("format") if isinstance(index, dict) else None
        raise StageError(
            f"{path} was prepared by another version of STAGE (format {str(version)[:20]}, not {FORMAT}): prepare it"
            " again"
        )
    shards = index.get("shards")
    if not isinstance(shards, list) or not all(map(_is_shard, shards)):
        raise StageError(f"{path}/{INDEX} is damaged: delete it with the shards beside it, and prepare again")
    return index


def _is_shard(shard: Any) -> bool:
    """Whether an entry of the index names a file beside it: what others prepared may name anything."""
    return (
        isinstance(shard, dict)
        and isinstance(shard.get("name"), str)
        and re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}", shard["name"]) is not None
        and isinstance(shard.get("songs"), list)
    )


def verify(path: Path) -> list[str]:
    """Names of the shards whose checksums are wrong."""
    return [
        shard["name"] for shard in read_index(path)["shards"] if checksum(path / shard["name"]) != shard.get("sha256")
    ]


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits; "" where there is none."""
    if not path.exists():
        return ""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def stream(url: str) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Songs one after the other, without seeking: (the song's description, role -> float32 [N]). url: a shard, local or
    in an object store."""
    import io
    import tarfile

    import soundfile

    about: dict[str, Any] | None = None
    stems: dict[str, np.ndarray] = {}
    with open_file(url) as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            data = tar.extractfile(member).read()
            if member.name.endswith(".json"):
                if about is not None:
                    yield about, stems
                about, stems = json.loads(data), {}
            else:
                name = member.name.rsplit(".", 2)[1]
                stems[about["files"].get(name, name)] = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    if about is not None:
        yield about, stems


def _song(file: BinaryIO, entry: dict[str, Any], place: str) -> Song:
    """Raises ValueError, KeyError, TypeError and their like for what is not as `stage prepare` writes it."""
    offset, size = _part(entry["offset"], entry["size"])
    if size > LARGEST_TEXT:
        raise ValueError(f"its description has {size} bytes")
    file.seek(offset)
    about = json.loads(file.read(size))
    rate, samples = about["rate"], about["samples"]
    if not (isinstance(rate, int) and isinstance(samples, int) and 0 < rate <= 1e6 and 0 <= samples <= 1e5 * rate):
        raise ValueError(f"{samples!r:.40} samples at {rate!r:.40} Hz")
    stems = {}
    for role, place_of_it in entry["stems"].items():
        start, length = _part(*place_of_it)
        stems[str(role)] = (Track(place, rate, samples, offset=start, size=length),)
    with np.errstate(over="ignore"):
        sounding = {role: np.array(about["sounding"][role], np.float32) for role in stems}
    if any(peaks.ndim != 1 or not np.isfinite(peaks).all() for peaks in sounding.values()):
        raise ValueError("its silence map is not a list of peaks")
    beats = None if about["beats"] is None else np.array(about["beats"], np.float64).reshape(-1, 2)
    return Song(
        id=str(about["id"]),
        artist=about["artist"],
        title=about["title"],
        rate=rate,
        samples=samples,
        stems=stems,
        beats=beats,
        genres=tuple(about["genres"]),
        moods=tuple(about["moods"]),
        tempo=about["tempo"],
        key=about["key"],
        split=about["split"],
        chords=about["chords"],
        loudness=about["loudness"],
        sounding=sounding,
        captions=tuple(about["captions"]),
    )


def _part(offset: Any, size: Any) -> tuple[int, int]:
    if not (isinstance(offset, int) and isinstance(size, int) and 0 <= offset < 1 << 60 and 0 < size < 1 << 60):
        raise ValueError(f"bytes {offset!r:.40} + {size!r:.40}")
    return offset, size
