"""MoisesDB: `<uuid>/data.json` and `<uuid>/<stemName>/<track id>.<extension>` (44.1 kHz stereo WAV)."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from stage.errors import StageError

from .roles import MOISES
from .song import Problem, Song, Track, common_length, probe

CLICKS = "click"
"""A track of a type with this word in it is what the musicians played to, and is left out."""


def fits(path: Path) -> Path | None:
    """The folder with the songs, if this is MoisesDB: itself, or `moisesdb_v0.1` in it or in `moisesdb` in it."""
    for place in (path, path / "moisesdb_v0.1", path / "moisesdb" / "moisesdb_v0.1"):
        if next(place.glob("*/data.json"), None):
            return place
    return None


def songs(path: Path, problems: list[Problem]) -> list[Song]:
    """All songs of the folder that `fits` found."""
    return [song for file in sorted(path.glob("*/data.json")) if (song := _song(file, problems))]


def _song(file: Path, problems: list[Problem]) -> Song | None:
    name = file.parent.name
    try:
        data = json.loads(file.read_text())
        stems = [(stem["stemName"], track) for stem in data["stems"] for track in stem["tracks"]]
        about = dict(artist=str(data.get("artist", "")), title=str(data.get("song", name)), genres=tuple(filter(None, [data.get("genre")])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(Problem(name, "another version of MoisesDB", f"{file}: {type(error).__name__} {error}"))
        return None
    tracks: dict[str, list[Track]] = defaultdict(list)
    for stem, track in stems:
        kind = track.get("trackType", "")
        if CLICKS in kind.lower():
            continue
        place = file.parent / stem / f"{track['id']}.{track.get('extension', 'wav')}"
        role = MOISES.get(stem, stem)
        if not place.exists():
            problems.append(Problem(name, "missing file", str(place), role))
            continue
        try:
            found = probe(str(place), kind=kind, bleed=bool(track.get("has_bleed")))
        except StageError as error:
            problems.append(Problem(name, "unreadable file", str(error), role))
        else:
            tracks[role].append(found)
    if not tracks:
        problems.append(Problem(name, "no stems", str(file.parent)))
        return None
    rate = max(track.rate for parts in tracks.values() for track in parts)
    return Song(name, rate=rate, samples=common_length((t for parts in tracks.values() for t in parts), rate), stems=dict(tracks), **about)
