"""MUSDB18 (`train|test/Artist - Title.stem.mp4`, five AAC streams) and MUSDB18-HQ (`train|test/Artist -
Title/drums.wav`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stage.data import roles
from stage.data.container_tracks import streams
from stage.data.readers.gather import Source, make, reason, tracks_of
from stage.data.readers.places import Place, in_splits
from stage.data.song import Problem, Song
from stage.errors import StageError

SPLITS = ("train", "test")
SUFFIX = ".stem.mp4"


def mp4_places(root: Path) -> list[Place]:
    """The MP4 files of the splits, or of `root` itself."""
    return in_splits(root, SPLITS, f"[!.]*{SUFFIX}")


def hq_places(root: Path) -> list[Place]:
    """The song folders of the splits, or of `root` itself; none where songs have other stems too: that is some other
    set of that form."""
    found = in_splits(root, SPLITS, "[!.]*/mixture.wav")
    if not found or any(
        path.stem not in roles.MUSDB for place in found for path in place.folder.parent.glob("[!.]*.wav")
    ):
        return []
    # A song whose mixture alone is missing is to be read too.
    folders = {place.folder.parent.parent: place.split for place in found}
    return [
        Place(path, split)
        for folder, split in folders.items()
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name[0] != "."
    ]


def _names(name: str) -> dict[str, str]:
    artist, dash, title = name.partition(" - ")
    return {"artist": artist, "title": title} if dash else {"artist": "", "title": name}


def read_mp4(place: Place, problems: list[Problem]) -> Song | None:
    """The song of an MP4 file; its id is "Artist - Title"."""
    path = place.folder
    name = path.name[: -len(SUFFIX)]
    try:
        found = streams(str(path))
    except StageError as error:
        problems.append(Problem(name, reason(path, error), str(error)))
        return None
    if len(found) != len(roles.MUSDB):
        why = f"{path} has {len(found)} audio streams, where MUSDB18 has {len(roles.MUSDB)}: {', '.join(roles.MUSDB)}"
        problems.append(Problem(name, "wrong number of streams", why))
        return None
    stems = {role: [replace(track, kind=source)] for track, (source, role) in zip(found, roles.MUSDB.items()) if role}
    return make(name, stems, problems, split=place.split, **_names(name))


def read_hq(place: Place, problems: list[Problem]) -> Song | None:
    """The song of a folder of WAV files; its id is "Artist - Title". A file that is missing is reported."""
    name = place.folder.name
    sources = [Source(role, place.folder / f"{source}.wav", source) for source, role in roles.MUSDB.items() if role]
    return make(name, tracks_of(name, sources, problems), problems, split=place.split, **_names(name))
