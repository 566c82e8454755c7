"""Our own corpus (`stage corpus`): `<split>/<song>/song.json` beside a FLAC for each stem."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stage.corpus.read import CorpusSong
from stage.data.readers.gather import Source, inside, make, tracks_of
from stage.data.readers.places import Place, in_splits
from stage.data.song import Problem, Song
from stage.errors import StageError

SPLITS = ("train", "heldout")


def places(root: Path) -> list[Place]:
    """The song folders of the splits, or of `root` itself."""
    return [Place(place.folder.parent, place.split) for place in in_splits(root, SPLITS, "[!.]*/song.json")]


def read(place: Place, problems: list[Problem]) -> Song | None:
    """The song of a folder, with its beats, chords, key, tempo, genre, moods, captions."""
    song, name = CorpusSong(place.folder), place.folder.name
    try:
        meta = song.meta
        name = song.id
        sources = [
            Source(str(stem), inside(place.folder, f"{stem}.flac"), " ".join(about.get("words") or [stem]))
            for stem, about in meta["stems"].items()
        ]
        facts = dict(
            beats=np.stack([song.beats, song.numbers], 1).astype(np.float64),
            genres=_words(meta.get("genre")),
            moods=_words(meta.get("moods")),
            tempo=meta.get("tempo"),
            key=meta.get("key"),
            chords=meta.get("chords"),
            captions=tuple(meta.get("captions") or ()),
        )
    except (StageError, KeyError, TypeError, ValueError, AttributeError) as error:
        other = f"{place.folder / 'song.json'} is not of this version ({type(error).__name__}: {error})"
        detail = str(error) if isinstance(error, StageError) else other
        problems.append(Problem(name, "bad metadata", f"{detail.rstrip('.')}: build the song again"))
        return None
    return make(name, tracks_of(name, sources, problems), problems, artist="", title=name, split=place.split, **facts)


def _words(words: str | list[str] | None) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words or ())
