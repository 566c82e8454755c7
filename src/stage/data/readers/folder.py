"""Any folder of stems: `song/drums.wav`, `artist/song/01 Bass DI.flac`, `song/drums/kick.wav`, with what the user
writes beside them.

`stems.yaml` (or `.json`) in the folder that is opened names more stems: role -> patterns; `ignore` for what is to be
left out.
`song.yaml` in a song's folder gives artist, title, tempo, key, genres, moods and split; `beats.txt` its beats, "seconds
number" a line.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stage.beats.grid import TEMPO_RANGE, BeatGrid
from stage.data.readers.gather import Source, make, parse, tracks_of
from stage.data.readers.places import SPLITS, Place
from stage.data.roles import FOLDER, Names
from stage.data.song import Problem, Song
from stage.errors import MissingExtra, StageError

AUDIO = (
    *(".wav", ".w64", ".bwf", ".rf64", ".flac", ".aif", ".aiff", ".aifc", ".caf", ".au", ".ogg", ".opus"),
    *(".mp3", ".mp2", ".m4a", ".m4b", ".aac", ".wma", ".mka", ".webm", ".ac3", ".wv", ".tta", ".ape", ".spx"),
)
"""What is tried: libsndfile or FFmpeg reads it, or the file is reported."""
NOT_READ = (".oga", ".mp4", ".mov", ".mkv", ".dsf", ".dff", ".mpc", ".ra", ".rx2")
"""Sound in a form that is not read: reported where it lies in a song's folder."""
INEXACT = (".aac", ".wma", ".mp2", ".ac3", ".mka")
"""Forms that do not record how much their encoder put in front of the music."""
NAMES = ("stems.yaml", "stems.yml", "stems.json")
FACTS = ("song.yaml", "song.yml")
BEATS = "beats.txt"
IGNORE = "ignore"
DEPTH = 4
"""How far below the folder that is opened a song is looked for."""


@dataclass(frozen=True)
class FolderPlace(Place):
    """A song's folder, or one with files beside songs.

    parts: where it lies below the root, without the split. files: its audio files with their roles: "" where the name
    is not known, None where it is to be left out. notes: what lies there and is not read; without `files` they are all
    there is to this place.
    """

    parts: tuple[str, ...]
    files: tuple[tuple[str | None, Path], ...] = ()
    notes: tuple[Problem, ...] = ()


def places(root: Path) -> list[Place]:
    """Every folder below `root` that is a song; none if no name is known anywhere.

    A song is a folder with audio files, or with folders named like a stem that hold some. Where folders in it are
    songs themselves, it is a folder of songs, and files beside them are reported.
    Raises StageError for a `stems.yaml` that cannot be used.
    """
    found = _Search(root).places()
    return found if any(role for place in found for role, _ in place.files) else []


class _Search:
    """One look through the folders below a root. Each folder is looked into once, whatever links lead to it; its own
    path goes before a link."""

    def __init__(self, root: Path):
        self.root, self.names = root, Names(extra_names(root))
        self.splits = _split_depth(root)
        self.unreadable: list[FolderPlace] = []
        self.entries = functools.lru_cache(maxsize=None)(self._entries)
        self.own = set(self._own_folders(root, 0))
        self.seen = set(map(os.path.realpath, self.own))

    def _own_folders(self, folder: Path, depth: int) -> Iterator[Path]:
        """The folders below the root that are reached without a link."""
        yield folder
        if depth <= DEPTH:
            for path in self.entries(folder):
                if path.is_dir() and not path.is_symlink():
                    yield from self._own_folders(path, depth + 1)

    def places(self) -> list[FolderPlace]:
        found = self._below(self.root, ())
        return sorted(found + self.unreadable, key=lambda place: place.folder)

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return _entries(folder)
        except StageError as error:
            if folder == self.root:
                raise
            notes = [Problem("", "folder unreadable", str(error))]
            self.unreadable.append(self._place(folder, folder.relative_to(self.root).parts, (), notes))
            return []

    def _below(self, folder: Path, parts: tuple[str, ...]) -> list[FolderPlace]:
        """The places of a folder and of those in it."""
        stems, others = [], []
        for path in self.entries(folder):
            if path.is_dir() and path.name[0] != "_" and self._first_visit(path):
                role = self.names.role(path.name, whole=True)[1]
                (stems if role and self._audio(path) else others).append(path)
        inner = [place for path in others if len(parts) < DEPTH for place in self._below(path, (*parts, path.name))]
        loose = self._audio(folder)
        if self._holds_songs(loose, stems, inner):
            inner += [place for path in stems for place in self._below(path, (*parts, path.name))]
            notes = [self._note(path, "file beside songs", BESIDE) for _, path in loose]
            notes += self._left_out(folder)
            return inner + ([self._place(folder, parts, (), notes)] if notes else [])
        files = [(self.names.role(path.name, whole=True)[1], file) for path in stems for _, file in self._audio(path)]
        files += loose
        if not files:
            notes = list(self._left_out(folder)) if inner else []
            return inner + ([self._place(folder, parts, (), notes)] if notes else [])
        notes = [self._note(place.folder, "folder not read", WITHIN) for place in inner if place.files]
        notes += [note for path in (folder, *stems) for note in self._left_out(path)]
        return [self._place(folder, parts, tuple(files), notes)]

    def _first_visit(self, folder: Path) -> bool:
        if folder in self.own:
            return True
        place = os.path.realpath(folder)
        new = place not in self.seen
        self.seen.add(place)
        return new

    def _audio(self, folder: Path) -> list[tuple[str | None, Path]]:
        """The audio files of a folder and the roles that their names stand for."""
        files = [
            path
            for path in self.entries(folder)
            if path.suffix.lower() in AUDIO and path.name[0] != "_" and not path.is_dir()
        ]
        roles = self.names.roles([path.stem for path in files])
        return [(role if known else "", path) for path, (known, role) in zip(files, roles)]

    def _holds_songs(self, loose: list[tuple[str | None, Path]], stems: list[Path], inner: list[FolderPlace]) -> bool:
        """Whether a folder is one of songs, not a song itself.

        loose: audio files in it. stems: folders in it that are named like a stem, which a song may be too ("Crash").
        inner: what the other folders in it hold.
        """
        roles = {path: {role for role, _ in self._audio(path) if role} for path in stems}
        mixed = [path for path in stems if len(roles[path]) > 1]  # a stem's folder, or a song of that name
        own = {role for role, _ in loose if role}
        own |= {self.names.role(path.name, whole=True)[1] for path in stems if path not in mixed}
        songs = [found for place in inner if (found := {role for role, _ in place.files if role})]
        if len(own) > 1 and sum(len(found) > 1 for found in songs) < 2:
            return False
        if songs:
            return True
        shared = len(mixed) == 1 or len(set().union(*(roles[path] for path in mixed))) < sum(
            len(roles[path]) for path in mixed
        )
        return bool(mixed) and not own and shared

    def _left_out(self, folder: Path) -> Iterator[Problem]:
        for path in self.entries(folder):
            name, kind = path.name, path.suffix.lower()
            if name[0] == "_" and (self._below(path, ()) if path.is_dir() else kind in AUDIO):
                yield self._note(path, "name begins with _", 'names that begin with "_" are left out: rename it')
            elif kind in NOT_READ and not path.is_dir():
                yield self._note(path, "file not read", f"{kind} files are not read as stems: write it anew as WAV")

    def _note(self, path: Path, reason: str, why: str) -> Problem:
        return Problem(str(path.relative_to(self.root).parent), reason, f"{path}: {why}", path.stem)

    def _place(
        self,
        folder: Path,
        parts: tuple[str, ...],
        files: tuple[tuple[str | None, Path], ...],
        notes: list[Problem],
    ) -> FolderPlace:
        count = next((depth for depth in range(self.splits, 0, -1) if _are_splits(parts[:depth], depth)), 0)
        own = self.root.resolve().name
        split = parts[count - 1] if count else own if own in SPLITS else None
        parts = parts[count:] or (folder.resolve().name,)
        name = " - ".join(parts)
        return FolderPlace(folder, split, parts, files, tuple(replace(note, song=name) for note in notes))


BESIDE = "it lies beside folders that are songs, and is not read: move it into a folder of its own, or away"
WITHIN = "it holds audio, lies in a song's folder and is not named like a stem: it is not read"


def _split_depth(root: Path) -> int:
    """How many folders below the root may name a split: one, or two where the only split's folder holds such folders
    (an archive unpacked into a folder of its name)."""
    splits = [path for path in _entries(root) if path.is_dir() and path.name in SPLITS]
    return 2 if len(splits) == 1 else 1


def _are_splits(parts: tuple[str, ...], count: int) -> bool:
    return len(parts) == count and all(part in SPLITS for part in parts)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(
            Path(entry.path)
            for entry in os.scandir(folder)
            if not entry.name.startswith(".") and entry.name != "__MACOSX"
        )
    except OSError as error:
        raise StageError(f"cannot look into {folder}: {error.strerror}") from None


def read(place: FolderPlace, problems: list[Problem]) -> Song | None:
    """The song of a folder. Its id is its path below the root, parts joined by " - ", without the split."""
    problems += place.notes
    if not place.files:
        return None
    name = " - ".join(place.parts)
    sources = []
    for role, path in place.files:
        if role:
            sources.append(Source(role, path, path.stem))
            if path.suffix.lower() in INEXACT:
                why = f"{path} may begin up to 0.1 s early or late, {path.suffix} does not record it: use WAV or FLAC"
                problems.append(Problem(name, "start inexact", why, role))
        elif role == "":
            hint = f'no stem is known for the name "{path.name}": add it to {NAMES[0]}'
            problems.append(Problem(name, "stem name unknown", hint, path.stem))
    about = _facts(place.folder, name, problems)
    artist, title = _artist_and_title(place.parts)
    about = {
        "artist": artist,
        "title": title,
        "split": place.split,
        **about,
        "beats": _beats(place.folder / BEATS, name, problems),
    }
    return make(name, tracks_of(name, sources, problems), problems, **about)


def _artist_and_title(parts: tuple[str, ...]) -> tuple[str, str]:
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


# ---------------------------------------------------------------- what the user writes


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
                f'{path}: "{role}" cannot be the name of a stem: use small letters, like'
                f" {', '.join(filter(None, FOLDER))}, or {IGNORE}"
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
    """What song.yaml holds, as fields of Song; nothing, with a problem, where it cannot be used."""
    path = next((folder / name for name in FACTS if (folder / name).exists()), None)
    if path is None:
        return {}
    try:
        return {field: value for key, entry in _read(path).items() for field, value in [_fact(path, key, entry)]}
    except MissingExtra:
        raise
    except StageError as error:
        problems.append(Problem(song, "bad metadata", f"{error}. The song stays, without what that file holds"))
        return {}


def _fact(path: Path, key: str, value: Any) -> tuple[str, Any]:
    """The field of Song and its value for an entry of song.yaml. Raises StageError for an unknown key or a
    value that cannot be."""
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
