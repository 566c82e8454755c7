"""Opens any data set as songs: `open_songs`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stage.errors import StageError

from . import folder, moises, musdb, own, prepared, slakh
from .song import Problem, Song, common_length

KINDS: dict[str, tuple[Callable[[Path], Path | None], Callable[[Path, list[Problem]], list[Song]], str]] = {
    "prepared": (prepared.fits, prepared.songs, "index.json of stage prepare"),
    "moisesdb": (moises.fits, moises.songs, "<uuid>/data.json"),
    "musdb18": (musdb.fits, musdb.songs, "train|test with *.stem.mp4, or folders with mixture.wav"),
    "slakh": (slakh.fits, slakh.songs, "train|validation|test/TrackNNNNN/metadata.yaml"),
    "corpus": (own.fits, own.songs, "<split>/<song>/song.json of stage corpus"),
    "folder": (folder.fits, folder.songs, "<song>/drums.wav and other audio files"),
}
"""Name of a kind -> how it is known, read, and described; the first that fits counts."""


def find_kind(path: Path, kind: str = "auto") -> tuple[str, Path]:
    """Which data set a folder holds, and where in it the songs are. Raises StageError where it is none that is known."""
    if not path.exists():
        raise StageError(f"there is no folder {path}")
    if not path.is_dir():
        raise StageError(f"{path} is a file: give the folder of a data set")
    if kind != "auto" and kind not in KINDS:
        raise StageError(f'there is no data set of kind "{kind}": choose {", ".join(KINDS)}')
    for name, (fits, _, _) in KINDS.items():
        if kind in ("auto", name) and (place := fits(path)):
            return name, place
    found = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
    looked = "; ".join(f"{name}: {sign}" for name, (_, _, sign) in KINDS.items() if kind in ("auto", name))
    raise StageError(f"{path} is no data set that STAGE reads. Looked for {looked}. Found {found}")


def open_songs(path: str | Path, kind: str = "auto", rate: int | None = None, problems: list[Problem] | None = None) -> list[Song]:
    """The songs of a data set, sorted by id.

    kind: of `KINDS`, found by itself with "auto". rate: in Hz, at which the songs are read; each its own if None.
    problems: gets what was left out. Raises StageError where it is no data set, or nothing in it can be used.
    """
    problems = [] if problems is None else problems
    if "://" in str(path):  # an object store holds what was prepared and copied there
        found = prepared.songs(str(path).rstrip("/"), problems)
    else:
        name, place = find_kind(Path(path), kind)
        found = KINDS[name][1](place, problems)
    songs: dict[str, Song] = {}
    for song in sorted(found, key=lambda song: song.id):
        if song.id in songs:
            problems.append(Problem(song.id, "same name twice", "only the first is used"))
        else:
            songs[song.id] = song if rate is None else at_rate(song, rate)
    if not songs:
        why = f"; the first trouble: {problems[0].song}: {problems[0].detail}" if problems else ""
        raise StageError(f"no song of {path} can be used{why}")
    return list(songs.values())


def at_rate(song: Song, rate: int) -> Song:
    """The same song, read at another rate in Hz."""
    every = (track for tracks in song.stems.values() for track in tracks)
    return replace(song, rate=rate, samples=common_length(every, rate))
