"""`open_songs`: which data set a folder holds, and its songs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

from stage.data import facts, prepared
from stage.data.readers import corpus, folder, moises, musdb, slakh
from stage.data.readers.gather import at_rate
from stage.data.readers.places import Place
from stage.data.song import Problem, Song
from stage.errors import StageError

PREPARED = "prepared"
THREADS = 8
"""Headers are read by this many at once: on a network disc each waits for its turn."""


@dataclass(frozen=True)
class Reader:
    """How one kind of data set is read.

    looked_for: what its folder must hold, for error messages. places: the songs that a folder seems to hold. read: the
    song of such a place, or None; what is left out it appends to the problems. twin: what two songs that are the same
    music share, "" if nothing.
    """

    title: str
    looked_for: str
    places: Callable[[Path], Sequence[Place]]
    read: Callable[[Any, list[Problem]], Song | None]
    twin: Callable[[Song], str] = lambda song: ""


READERS = {
    "moisesdb": Reader("MoisesDB", "moisesdb_v0.1/<track>/data.json", moises.places, moises.read),
    "musdb18": Reader("MUSDB18", "train|test/*.stem.mp4", musdb.mp4_places, musdb.read_mp4),
    "musdb18-hq": Reader("MUSDB18-HQ", "train|test/<song>/mixture.wav", musdb.hq_places, musdb.read_hq),
    "slakh": Reader(
        "Slakh2100", "train|validation|test/Track*/metadata.yaml", slakh.places, slakh.read, lambda song: song.title
    ),
    "corpus": Reader("the corpus", "train|heldout/<song>/song.json", corpus.places, corpus.read),
    "folder": Reader("a folder of stems", "<song>/drums.wav, bass.wav, ...", folder.places, folder.read),
}
"""In the order in which they are tried: a folder of stems is what fits when nothing else does."""

KINDS = (PREPARED, *READERS)


def open_songs(
    path: str | Path, kind: str = "auto", rate: int | None = None, problems: list[Problem] | None = None
) -> list[Song]:
    """The songs of a data set, sorted by id, to be read at `rate` Hz (at their own by default).

    path: a folder, or the URL of a prepared set. kind: one of `KINDS`; "auto" finds out. What cannot be used is
    appended to `problems`, and the rest goes on. Only headers
    and metadata are read: damage further in shows when a crop is read. Raises StageError where there is no such folder,
    where it holds no data set of a known form, and where nothing of it can be used.
    """
    problems = [] if problems is None else problems
    path = location(path)
    kind, found = recognise(path, kind)
    before = len(problems)
    if kind == PREPARED:
        songs = prepared.songs(path, problems)
        reader = None
    else:
        reader = READERS[kind]
        songs = _read_all(reader, found, problems)
    songs = _single(songs, reader, problems)
    if not songs:
        why = f": {problems[before].song}: {problems[before].detail}" if len(problems) > before else ""
        raise StageError(f"{path} holds no song that can be used, and {len(problems) - before} that cannot{why}")
    songs = [facts.checked(song, problems) for song in songs]
    return sorted(
        (song if rate in (None, song.rate) else at_rate(song, rate) for song in songs), key=lambda song: song.id
    )


def location(path: str | Path) -> str | Path:
    """A folder as a Path, a URL as text: also one that has become a Path on its way, and lost a slash by that. A URL of
    this machine's own files is a Path."""
    text = str(path)
    if re.match(r"file:/(//|(?!/))", text, re.IGNORECASE):
        return Path(url2pathname(text[5:].replace("///", "/", 1)))
    if found := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", text):  # a Windows drive has one letter
        if "://" in text or not os.path.exists(text):
            return f"{found[1]}://{text[found.end() :]}"
    return Path(path)


def recognise(path: str | Path, kind: str = "auto") -> tuple[str, Sequence[Place]]:
    """(kind, the places of its songs; none for a prepared set, which a URL always is). Raises StageError as
    `open_songs`."""
    if kind != "auto" and kind not in KINDS:
        raise StageError(f'"{kind}" is not a kind of data set: choose auto, {", ".join(KINDS)}')
    path = location(path)
    if isinstance(path, str):  # an object store holds what was prepared and copied there
        if kind not in ("auto", PREPARED):
            raise StageError(f"{path} is a URL, which only a prepared set can have: copy the data set here first")
        return PREPARED, ()
    if not path.is_dir():
        raise StageError(f"{path} is {'a file' if path.exists() else 'not there'}: name the folder of a data set")
    if kind == PREPARED or kind == "auto" and prepared.fits(path):
        return PREPARED, ()
    for name, reader in READERS.items():
        if kind in ("auto", name) and (found := reader.places(path)):
            return name, found
    wanted = [f"{reader.title} ({reader.looked_for})" for name, reader in READERS.items() if kind in ("auto", name)]
    try:
        there = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise StageError(f"cannot look into {path}: {error.strerror or error}") from None
    shown = ", ".join(there[:6]) + (f" and {len(there) - 6} more" if len(there) > 6 else "") if there else "nothing"
    raise StageError(f"{path} holds no data set that is known. Looked for: {'; '.join(wanted)}. Found: {shown}")


def _read_all(reader: Reader, found: Sequence[Place], problems: list[Problem]) -> list[Song]:
    def one(place: Place) -> tuple[Song | None, list[Problem]]:
        own: list[Problem] = []
        return reader.read(place, own), own

    songs = []
    with ThreadPoolExecutor(THREADS) as pool:
        for song, own in pool.map(one, found):
            problems += own
            songs += [song] if song else []
    return songs


def _single(songs: list[Song], reader: Reader | None, problems: list[Problem]) -> list[Song]:
    """Songs without those that are there twice: the first of them stays, those to train on first."""
    kept: dict[str, Song] = {}
    twins: dict[str, Song] = {}
    for song in songs:
        twin = reader.twin(song) if reader else ""
        if song.id in kept:
            where = f"in {kept[song.id].split or 'the set'} and in {song.split or 'the set'}"
            problems.append(Problem(song.id, "id twice", f"{song.id} is there twice, {where}: the first is kept"))
        elif twin and twin in twins:
            problems.append(Problem(song.id, "duplicate", f"the same music as {twins[twin].id} ({twin})"))
        else:
            kept[song.id] = song
            if twin:
                twins[twin] = song
    return list(kept.values())
