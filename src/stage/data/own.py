"""The corpus that `stage corpus` composes: its songs know everything about themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from stage.errors import StageError

from .song import Problem, Song, Track, probe


def fits(path: Path) -> Path | None:
    """The folder itself, if it holds our corpus."""
    return path if next(path.glob("*/[!.]*/song.json"), None) else None


def songs(path: Path, problems: list[Problem]) -> list[Song]:
    """All songs of all splits."""
    return [song for file in path.glob("*/[!.]*/song.json") if (song := _song(file, problems))]


def _song(file: Path, problems: list[Problem]) -> Song | None:
    name = file.parent.name
    try:
        meta = json.loads(file.read_text())
        beats = np.stack([np.asarray(meta["beats"], np.float64), np.asarray(meta["downbeat_numbers"], np.float64)], 1)
        about = dict(genres=tuple(filter(None, [meta.get("genre")])), moods=tuple(meta.get("moods", ())), tempo=meta.get("tempo"), key=meta.get("key"),
                     split=meta.get("split", file.parent.parent.name), chords=meta.get("chords"), captions=tuple(meta.get("captions", ())))  # fmt: skip
        rate, samples, stems = meta["rate"], meta["samples"], list(meta["stems"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        problems.append(Problem(name, "another version of the corpus", f"{file}: {type(error).__name__} {error}"))
        return None
    tracks: dict[str, tuple[Track, ...]] = {}
    for stem in stems:
        try:
            tracks[stem] = (probe(str(file.parent / f"{stem}.flac")),)
        except StageError as error:
            problems.append(Problem(name, "unreadable file", str(error), stem))
    if not tracks:
        problems.append(Problem(name, "no stems", str(file.parent)))
        return None
    # every song is an artist of its own: no band plays two of them
    return Song(name, name, name, rate, samples, tracks, beats=beats, **about)
