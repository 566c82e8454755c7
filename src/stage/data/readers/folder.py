"""Any folder of stems: `song/drums.wav`, `artist/song/01 Bass DI.flac`, `song/drums/kick.wav`, with what the user says
beside them.

`stems.yaml` (or `.json`) in the folder that is opened names more stems: role -> patterns; `ignore` for what is to be
left out.
`song.yaml` in a song's folder tells artist, title, tempo, key, genres, moods and split; `beats.txt` its beats, "seconds
number" a line.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stage.beats.grid import TEMPO_RANGE, BeatGrid
from stage.data.readers.gather import Source, make, parse, tracks_of
from stage.data.readers.places import SPLITS, Place
from stage.data.roles import FOLDER, Names
from stage.data.song import Problem, Song
from stage.errors import MissingExtra, StageError

AUDIO = (".wav", ".flac", ".aif", ".aiff", ".w64", ".caf", ".ogg", ".mp3")
NAMES = ("stems.yaml", "stems.yml", "stems.json")
FACTS = ("song.yaml", "song.yml")
BEATS = "beats.txt"
IGNORE = "ignore"
DEPTH = 4
"""How far below the folder that is opened a song is looked for."""


@dataclass(frozen=True)
class FolderPlace(Place):
    """A song's folder, where it lies below the root (without the split), and the names that hold there."""

    parts: tuple[str, ...]
    names: Names


def places(root: Path) -> list[Place]:
    """Every folder below `root` that holds audio files, or folders named like a stem that do; none if no name is known
    anywhere.

    Raises StageError for a `stems.yaml` that cannot be used.
    """
    names = Names(extra_names(root))
    found = [FolderPlace(folder, split, parts, names) for folder, split, parts in _walk(root, names)]
    return found if any(role for place in found for role, _ in _files(place.folder, names) if role) else []


def _walk(root: Path, names: Names) -> list[tuple[Path, str | None, tuple[str, ...]]]:
    found, folders = [], [(root, ())]
    while folders:
        folder, parts = folders.pop()
        if _files(folder, names):
            split = next((part for part in parts if part in SPLITS), None) or (
                root.resolve().name if root.resolve().name in SPLITS else None
            )
            found.append(
                (folder, split, tuple(part for part in parts if part not in SPLITS) or (folder.resolve().name,))
            )
        elif len(parts) < DEPTH:
            folders += [(path, (*parts, path.name)) for path in _entries(folder) if path.is_dir()]
    return sorted(found)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name[0] not in "._")
    except OSError as error:
        raise StageError(f"cannot look into {folder}: {error.strerror}") from None


def _files(folder: Path, names: Names) -> list[tuple[str | None, Path]]:
    """The audio files of a song and their roles: "" where the name is not known, None where it is to be left out."""
    found, files = [], []
    for path in _entries(folder):
        if path.is_dir():
            if role := names.role(path.name, whole=True)[1]:
                found += [(role, file) for file in _entries(path) if file.suffix.lower() in AUDIO]
        elif path.suffix.lower() in AUDIO:
            files.append(path)
    told = names.roles([path.stem for path in files])
    return found + [(role if known else "", path) for path, (known, role) in zip(files, told)]


def read(place: FolderPlace, problems: list[Problem]) -> Song | None:
    """The song of a folder. Its id is its path below the root, parts joined by " - ", without the split."""
    name = " - ".join(place.parts)
    sources = []
    for role, path in _files(place.folder, place.names):
        if role:
            sources.append(Source(role, path, path.stem))
        elif role == "":
            hint = f'no stem is known for the name "{path.name}": add it to {NAMES[0]}'
            problems.append(Problem(name, "stem name unknown", hint, path.stem))
    about = _facts(place.folder, name, problems)
    artist, title = _told(place.parts)
    about = {
        "artist": artist,
        "title": title,
        "split": place.split,
        **about,
        "beats": _beats(place.folder / BEATS, name, problems),
    }
    return make(name, tracks_of(name, sources, problems), problems, **about)


def _told(parts: tuple[str, ...]) -> tuple[str, str]:
    """Artist and title, from `artist/title` or "Artist - Title"."""
    if len(parts) > 1:
        return parts[-2], parts[-1]
    artist, dash, title = parts[0].partition(" - ")
    return (artist, title) if dash else ("", parts[0])


def _beats(path: Path, song: str, problems: list[Problem]) -> np.ndarray | None:
    if not path.exists():
        return None
    try:
        grid = BeatGrid.load(path)
    except StageError as error:
        problems.append(Problem(song, "beats unreadable", f"{error}. The song stays, without its beats"))
        return None
    return np.stack([grid.times, grid.numbers], 1).astype(np.float64)


# ---------------------------------------------------------------- what the user says


def extra_names(root: Path) -> dict[str | None, list[str]]:
    """The user's patterns, by role. Raises StageError for a file that is not of that form."""
    path = next((root / name for name in NAMES if (root / name).exists()), None)
    if path is None:
        return {}
    table = _read(path)
    out: dict[str | None, list[str]] = {}
    for role, patterns in table.items():
        patterns = [patterns] if isinstance(patterns, str) else patterns
        if not isinstance(patterns, list) or not all(
            isinstance(one, str) and re.search(r"\w", one) for one in patterns
        ):
            raise StageError(f'{path}: "{role}" needs a list of names, like [kit, "tr*"]')
        if not re.fullmatch(r"[a-z][a-z0-9_]*", str(role)):
            raise StageError(
                f'{path}: "{role}" is no name for a stem: take small letters, like {", ".join(filter(None, FOLDER))},'
                f" or {IGNORE}"
            )
        out[None if role == IGNORE else role] = patterns
    return out


def _read(path: Path) -> dict:
    try:
        table = parse(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if table is not None and not isinstance(table, dict):
        raise StageError(f"{path} must be a table, one 'name: value' a line")
    return table or {}


def _facts(folder: Path, song: str, problems: list[Problem]) -> dict[str, Any]:
    """What song.yaml tells, as fields of Song; nothing, with a problem, where it cannot be used."""
    path = next((folder / name for name in FACTS if (folder / name).exists()), None)
    if path is None:
        return {}
    try:
        return {field: value for key, entry in _read(path).items() for field, value in [_fact(path, key, entry)]}
    except MissingExtra:
        raise
    except StageError as error:
        problems.append(Problem(song, "bad metadata", f"{error}. The song stays, without what that file says"))
        return {}


def _fact(path: Path, key: str, value: Any) -> tuple[str, Any]:
    """The field of Song and its value for an entry of song.yaml. Raises StageError for what is not known or makes no
    sense."""
    if key in ("artist", "title", "key", "split") and isinstance(value, (str, int, float)):
        return key, str(value)
    if key == "tempo" and isinstance(value, (int, float)) and TEMPO_RANGE[0] <= value <= TEMPO_RANGE[1]:
        return key, float(value)
    if key in ("genres", "moods") and isinstance(value, (str, list)):
        return key, (value,) if isinstance(value, str) else tuple(map(str, value))
    known = ("artist", "title", "tempo", "key", "genres", "moods", "split")
    if key in known:
        raise StageError(f"{path}: {key} cannot be {value!r}")
    near = difflib.get_close_matches(str(key), known, 1)
    raise StageError(
        f'{path}: "{key}" is not known' + (f": is {near[0]} meant?" if near else f", only {', '.join(known)}")
    )
