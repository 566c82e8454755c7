"""A prepared set on disk or in an object store: tar shards that WebDataset streams and that can be read at any place.

OUT/index.json       {"format", "rate", "settings", "shards": [{name, sha256, bytes, songs: [{id, offset, size, stems:
{role: [offset, size]}}]}]}
OUT/shard-00000.tar  KEY.json (all that is known of a song) and KEY.ROLE.flac (a mono stem of 16 bits) for each song,
side by side
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stage.data.song import Problem, Song, Track, open_file
from stage.errors import StageError

INDEX, FORMAT = "index.json", 1


def fits(path: Path) -> bool:
    """Whether `stage prepare` made this folder."""
    return (path / INDEX).exists()


def songs(path: Path | str, problems: list[Problem]) -> list[Song]:
    """All songs of a prepared folder, or of a URL that fsspec reads (s3://, gs://, memory://, ...)."""
    index = read_index(path)
    found = []
    for shard in index["shards"]:
        place = f"{path}/{shard['name']}"
        try:
            with open_file(place) as file:
                for entry in shard["songs"]:
                    file.seek(entry["offset"])
                    found.append(_song(json.loads(file.read(entry["size"])), entry, place))
        except (OSError, ValueError, KeyError) as error:
            problems.append(
                Problem(shard["name"], "unreadable shard", f"{place}: {error}; stage prepare makes it again")
            )
    return found


def read_index(path: Path | str) -> dict[str, Any]:
    """index.json. Raises StageError where it is missing, damaged, or of another version of STAGE."""
    try:
        with open_file(f"{path}/{INDEX}") as file:
            index = json.loads(file.read())
    except (OSError, ValueError) as error:
        raise StageError(f"{path} is no prepared set: {INDEX} cannot be read ({error})") from None
    if index.get("format") != FORMAT:
        raise StageError(
            f"{path} was prepared by another version of STAGE (format {index.get('format')}, not {FORMAT}): prepare it"
            " again"
        )
    return index


def verify(path: Path) -> list[str]:
    """Names of the shards whose checksums are wrong."""
    return [shard["name"] for shard in read_index(path)["shards"] if checksum(path / shard["name"]) != shard["sha256"]]


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
    """Songs one after the other, without seeking: (what is known, role -> float32 [N]). url: a shard, local or in an
    object store."""
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


def _song(about: dict[str, Any], entry: dict[str, Any], place: str) -> Song:
    rate, samples = about["rate"], about["samples"]
    stems = {
        role: (Track(place, rate, samples, offset=offset, size=size),)
        for role, (offset, size) in entry["stems"].items()
    }
    beats = None if about["beats"] is None else np.array(about["beats"], np.float64).reshape(-1, 2)
    return Song(
        about["id"],
        about["artist"],
        about["title"],
        rate,
        samples,
        stems,
        beats,
        tuple(about["genres"]),
        tuple(about["moods"]),
        about["tempo"],
        about["key"],
        about["split"],
        about["chords"],
        about["loudness"],
        {role: np.array(m, np.float32) for role, m in about["sounding"].items()},
        tuple(about["captions"]),
    )
