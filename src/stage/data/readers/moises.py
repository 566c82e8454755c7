"""MoisesDB v0.1: `<uuid>/data.json` beside `<uuid>/<stemName>/<track id>.<extension>`; several tracks a stem, a stem
perhaps twice."""

from __future__ import annotations

from pathlib import Path

from stage.data import roles
from stage.data.facts import truth
from stage.data.readers.gather import Source, bad_metadata, inside, make, parse, text_of, tracks_of
from stage.data.readers.places import Place
from stage.data.song import Problem, Song
from stage.errors import MissingExtra, StageError

VERSION = "moisesdb_v0.1"
TOLERANCE = 5.0
"""Seconds. Tracks all begin with the song, but some end where their last note does."""


def places(root: Path) -> list[Place]:
    """The track folders below `root`, which is the data set, the folder around it, or the one inside it.

    Raises StageError for another version of the data set.
    """
    for folder in (root / "moisesdb" / VERSION, root / VERSION, root):
        if found := [Place(path.parent, None) for path in sorted(folder.glob("[!.]*/data.json"))]:
            # A track folder without its data.json is to be reported, not passed by.
            found += [
                Place(path, None)
                for path in sorted(folder.glob("[!.]*-*-*-*-*"))
                if path.is_dir() and not (path / "data.json").exists()
            ]
            return sorted(found, key=lambda place: place.folder.name)
    others = [
        path
        for folder in (root, root / "moisesdb")
        for path in sorted(folder.glob("moisesdb_v*"))
        if path.is_dir() and path.name != VERSION
    ]
    if others:
        raise StageError(
            f"{others[0].name} in {root} is not {VERSION}, which can be read: fetch that, or try --kind moisesdb on"
            f" {others[0]}"
        )
    return []


def read(place: Place, problems: list[Problem]) -> Song | None:
    """The song of a track folder; its id is the folder's name, as in the paper's split."""
    name, path = place.folder.name, place.folder / "data.json"
    text = text_of(path, name, problems)
    if text is None:
        return None
    try:
        about = parse(path, text)
        sources, unknown = [], []
        for stem in about["stems"]:
            for track in stem["tracks"]:
                kind = str(track.get("trackType") or "")
                ending = str(track.get("extension") or "wav").lstrip(".")
                file = inside(place.folder, stem["stemName"], f"{track['id']}.{ending}")
                try:
                    role = roles.moises(stem["stemName"], kind)
                except KeyError:
                    unknown.append(stem["stemName"])
                    continue
                if role is not None:
                    sources.append(Source(role, file, kind, truth(track.get("has_bleed"))))
    except MissingExtra:
        raise
    except (StageError, KeyError, TypeError, AttributeError) as error:
        problems.append(bad_metadata(name, path, "MoisesDB v0.1", error))
        return None
    for stem in dict.fromkeys(unknown):
        problems.append(
            Problem(
                name, "stem name unknown", f'{path} has a stem "{stem}", which MoisesDB v0.1 does not have', str(stem)
            )
        )
    stems = tracks_of(name, sources, problems)
    genres = (str(about["genre"]).replace("_", " "),) if about.get("genre") else ()
    return make(
        name,
        stems,
        problems,
        TOLERANCE,
        artist=str(about.get("artist") or ""),
        title=str(about.get("song") or ""),
        genres=genres,
    )
