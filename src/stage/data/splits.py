"""Splits by artist, frozen in a file, so that nothing that is held out is ever trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from stage.data.song import Song
from stage.errors import StageError

FILE = "splits.json"
WAYS = ("auto", "own", "artist", "paper")
PAPER_HELD = 24
"""Songs that STAGE's authors hold out: the last ids, sorted."""


def assign(songs: Sequence[Song], known: dict[str, str], way: str = "auto", held: float = 0.1) -> dict[str, str]:
    """Split of each song by its id; what is `known` stays as it is.

    way: "own": the data set's; "artist": a share `held` of the artists, drawn by a hash of their names, so that it does
    not depend on the other songs;
    "paper": the last 24 ids; "auto": the data set's own where every song has one, else by artist. A song without an
    artist is an artist of its own.
    Raises StageError for another way, or where the data set has no splits of its own.
    """
    if way not in WAYS:
        raise StageError(f'songs are split by {", ".join(WAYS)}, not "{way}"')
    whole = all(song.split for song in songs)
    if way == "own" and not whole:
        raise StageError("this data set has no splits of its own: choose --split artist or paper")
    if way == "paper" and len(songs) <= PAPER_HELD:
        raise StageError(f"the paper holds out {PAPER_HELD} songs, and there are {len(songs)}: choose --split artist")
    artists = {_artist(song): known[song.id] for song in songs if song.id in known}
    last = {song.id for song in sorted(songs, key=lambda song: song.id)[-PAPER_HELD:]} if way == "paper" else set()
    result = {}
    for song in songs:
        if song.id in known:
            result[song.id] = known[song.id]
        elif way == "own" or (way == "auto" and whole):
            result[song.id] = str(song.split)
        elif way == "paper":
            result[song.id] = "heldout" if song.id in last else "train"
        else:
            result[song.id] = artists.get(_artist(song)) or ("heldout" if _share(_artist(song)) < held else "train")
    drawn = [
        song for song in songs if song.id not in known and not (way in ("own", "paper") or (way == "auto" and whole))
    ]
    if held and drawn and "heldout" not in result.values() and len({_artist(song) for song in songs}) > 1:
        # with few artists the draw may miss: the one that was nearest
        nearest = min({_artist(song) for song in drawn} - set(artists), key=_share, default=None)
        result |= {song.id: "heldout" for song in drawn if _artist(song) == nearest}
    return result


def shared_artists(songs: Sequence[Song], splits: dict[str, str]) -> dict[str, list[str]]:
    """Artists with songs in several splits (where the splits are the data set's own) -> those splits."""
    where: dict[str, set[str]] = {}
    for song in songs:
        if song.artist:
            where.setdefault(_artist(song), set()).add(splits[song.id])
    return {artist: sorted(found) for artist, found in where.items() if len(found) > 1}


def read(folder: Path) -> dict[str, str]:
    """What is frozen in a folder, nothing if there is no file. Raises StageError where it cannot be read."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return {str(name): str(split) for name, split in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise StageError(f"{path} cannot be read ({error}): correct it, or delete it and split again") from None


def _artist(song: Song) -> str:
    return song.artist.strip().lower() or f"song {song.id}"


def _share(name: str) -> float:
    """A number in 0..1 that is the same for the same name everywhere."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
