"""Fingerprints of songs, so that a cache is used only for the audio that it was made of (`stage.fingerprint`)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from stage import fingerprint
from stage.data import prepared
from stage.data.song import Song
from stage.errors import StageError


def song(one: Song) -> str:
    """Of a song's audio and of what is known about it. See `file` for how audio is recognised."""
    known = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
    tracks = {
        role: [
            [file(str(track.path)), {k: v for k, v in dataclasses.asdict(track).items() if k != "path"}]
            for track in group
        ]
        for role, group in known.pop("stems").items()
    }
    known["sounding"] = None  # follows from the audio
    return fingerprint.of_values([tracks, known])


def songs(many: Iterable[Song]) -> list[str]:
    """`song` of each."""
    file.cache_clear()
    _shards.cache_clear()
    return [song(one) for one in many]


@cache
def file(path: str) -> str:
    """A shard of a prepared set: the SHA-256 that its index records. Any other file: its size and the time of its last
    change."""
    if checksum := _shards(os.path.dirname(path)).get(os.path.basename(path)):
        return checksum
    try:
        found = os.stat(path)
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"


@cache
def _shards(folder: str) -> dict[str, str]:
    """Checksums of a prepared set's shards by name; empty where a folder is not one."""
    if "://" not in folder and not (Path(folder) / prepared.INDEX).exists():
        return {}
    try:
        return {shard["name"]: shard["sha256"] for shard in prepared.read_index(folder)["shards"]}
    except (StageError, KeyError, TypeError):
        return {}


def folder(path: Path) -> str:
    """Of the files in a song's folder of the corpus."""
    file.cache_clear()
    return fingerprint.of_values(
        [[one.name, file(str(one))] for one in sorted(path.iterdir()) if not one.name.startswith(".")]
    )


def is_made(path: Path, key: str) -> bool:
    """Whether a safetensors file of a cache is there, whole, and has this key in its metadata. One that an earlier
    version wrote has no key, and is taken as it is."""
    try:
        with safe_open(str(path), "pt") as found:
            return (found.metadata() or {}).get("key", key) == key
    except (OSError, SafetensorError):
        return False
