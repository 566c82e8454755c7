"""Any folder of songs, each a folder of stems (`song/drums.wav`), or `artist/song/drums.wav`. Files are known by their names.

`stems.yaml` in the data set's folder adds to the table of names (pattern: role, tried first; an empty role leaves the file out).
Beside the stems may lie `beats.txt` ("seconds place-in-the-bar" a line) and `song.yaml` (artist, title, genres, moods, key, tempo, split).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from stage.errors import MissingExtra, StageError
from stage.rhythm import BeatGrid

from .roles import role_of
from .song import Problem, Song, Track, common_length, probe

AUDIO = (".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3")
KNOWN = {"artist", "title", "genres", "moods", "key", "tempo", "split"}
UNEQUAL_SECONDS = 1.0
"""Stems whose lengths differ by more are told of; the shorter ones are silent at their end."""


def fits(path: Path) -> Path | None:
    """The folder itself, if there are folders with audio files in it, or in folders in it."""
    return path if _places(path) else None


def songs(path: Path, problems: list[Problem]) -> list[Song]:
    """All songs. Raises StageError where `stems.yaml` is no table."""
    table = _yaml(path / "stems.yaml")
    if not all((role is None or isinstance(role, str)) for role in table.values()):
        raise StageError(f'{path / "stems.yaml"} is no table of names: write lines like "rhodes: keys"')
    more = {str(pattern): role or "" for pattern, role in table.items()}
    return [song for place in _places(path) if (song := _song(path, place, more, problems))]


def _places(path: Path) -> list[Path]:
    found = {file.parent for depth in ("*/*", "*/*/*") for file in path.glob(depth) if file.suffix.lower() in AUDIO and not file.name.startswith(".")}
    return sorted(found)


def _song(root: Path, place: Path, more: dict[str, str], problems: list[Problem]) -> Song | None:
    name = " - ".join(place.relative_to(root).parts)
    tracks: dict[str, list[Track]] = defaultdict(list)
    for file in sorted(place.iterdir()):
        role = role_of(file.stem, more) if file.suffix.lower() in AUDIO and not file.name.startswith(".") else None
        if role is None:
            continue
        try:
            found = probe(str(file))
        except StageError as error:
            problems.append(Problem(name, "unreadable file", str(error), role))
        else:
            tracks[role].append(found)
    every = [track for parts in tracks.values() for track in parts]
    if not every:
        problems.append(Problem(name, "no stems", f"{place}: no file's name is known as a stem's; see stems.yaml in docs/data.md"))
        return None
    lengths = [track.samples / track.rate for track in every]
    if max(lengths) - min(lengths) > UNEQUAL_SECONDS:
        problems.append(Problem(name, "unequal lengths", f"{min(lengths):.1f} to {max(lengths):.1f} s; shorter stems are silent at their end", "kept"))
    rate = max(track.rate for track in every)
    try:
        about, beats = _about(place)
    except StageError as error:
        problems.append(Problem(name, "unreadable notes", str(error), "kept"))
        about, beats = {}, None
    artist = about.pop("artist", place.parent.name if place.parent != root else place.name)
    return Song(name, artist, about.pop("title", place.name), rate, common_length(every, rate), dict(tracks), beats=beats, **about)


def _about(place: Path) -> tuple[dict[str, Any], np.ndarray | None]:
    about = _yaml(place / "song.yaml")
    if strange := set(about) - KNOWN:
        raise StageError(f"{place / 'song.yaml'} has unknown keys: {', '.join(sorted(strange))}; known: {', '.join(sorted(KNOWN))}")
    for name in ("genres", "moods"):
        if name in about:
            about[name] = tuple([about[name]] if isinstance(about[name], str) else about[name])
    beats = None
    if (file := place / "beats.txt").exists():
        grid = BeatGrid.load(file)
        beats = np.stack([grid.times, grid.numbers.astype(np.float64)], 1)
    return about, beats


def _yaml(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        import yaml
    except ImportError:
        raise MissingExtra(f"reading {path.name}", "train") from None
    try:
        table = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise StageError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(table, dict):
        raise StageError(f"{path} is no table of names and values")
    return table
