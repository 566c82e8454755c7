"""Slakh2100 (and BabySlakh): `metadata.yaml` beside `stems/SNN.flac`; beats from the tempo map of `all_src.mid`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stage.data import roles
from stage.data.facts import truth
from stage.data.midi import beats
from stage.data.readers.gather import Source, bad_metadata, inside, make, parse, text_of, tracks_of
from stage.data.readers.places import Place, in_splits
from stage.data.song import Problem, Song
from stage.errors import MissingExtra, StageError

SPLITS = ("train", "validation", "test")
OMITTED = "omitted"
"""The folder of the redux split that holds what is twice in the data set."""


def places(root: Path) -> list[Place]:
    """The track folders of the splits, or of `root` itself; those of `omitted` go with that name as their split."""
    found = in_splits(root, (*SPLITS, OMITTED), "Track*/metadata.yaml")
    if not found:
        return []
    # A track folder without its metadata is to be reported.
    folders = {place.folder.parent.parent: place.split for place in found}
    return [
        Place(path, split)
        for folder, split in folders.items()
        for path in sorted(folder.glob("Track*"))
        if path.is_dir()
    ]


def read(place: Place, problems: list[Problem]) -> Song | None:
    """The song of a track folder. Its id is the folder's name; its title, the id of its MIDI file, is the same for
    songs of the same music."""
    name, path = place.folder.name, place.folder / "metadata.yaml"
    if place.split == OMITTED:
        problems.append(
            Problem(name, "duplicate", "the redux split leaves it out, as the same music is in another track")
        )
        return None
    text = text_of(path, name, problems)
    if text is None:
        return None
    try:
        about = parse(path, text)
        sources = []
        for key, stem in sorted(about["stems"].items()):
            # What its renderer had no sound for is in the metadata, but is not a stem.
            if not truth(stem.get("audio_rendered", True)):
                continue
            role = roles.slakh(str(stem.get("inst_class") or ""), truth(stem.get("is_drum")))
            if role:
                sources.append(
                    Source(role, _audio(place.folder / "stems", key), str(stem.get("midi_program_name") or ""))
                )
    except MissingExtra:
        raise
    except (StageError, KeyError, TypeError, AttributeError) as error:
        problems.append(bad_metadata(name, path, "Slakh2100", error))
        return None
    stems = tracks_of(name, sources, problems)
    seconds = max((track.samples / track.rate for tracks in stems.values() for track in tracks), default=0.0)
    grid = None
    try:
        grid = beats(place.folder / "all_src.mid", seconds)
    except StageError as error:
        problems.append(Problem(name, "beats unreadable", f"{error}. The song stays, without its beats"))
    known = grid is not None and len(grid) > 1
    table = np.stack([grid.times, grid.numbers], 1).astype(np.float64) if known else None
    tempo = grid.bpm if known else None
    return make(
        name,
        stems,
        problems,
        artist="",
        title=str(about.get("UUID") or ""),
        split=place.split,
        beats=table,
        tempo=tempo,
    )


def _audio(folder: Path, key: str) -> Path:
    """FLAC, or WAV as in BabySlakh."""
    wav = inside(folder, f"{key}.wav")
    return wav if wav.exists() else wav.with_suffix(".flac")
