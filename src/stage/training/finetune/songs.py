"""The songs of a fine-tuning: those to train on, and those held out."""

from __future__ import annotations

from collections.abc import Sequence

from stage.data import open_songs
from stage.data.song import Song
from stage.errors import StageError
from stage.training.finetune.recipe import Recipe

HELD = ("valid", "validation", "val", "heldout", "held-out", "test")
"""Names of splits that may be held out, the preferred first."""


def load(data: str, recipe: Recipe) -> tuple[list[Song], list[Song]]:
    """(to train on, held out) from a data set: a folder, or the URL of a prepared set.

    Raises StageError where a target stem has no song, or a song is in both.
    """
    songs, held = split(open_songs(data), recipe.stems, recipe.validation.songs)
    if lost := [stem for stem in recipe.stems if not any(stem in song.stems for song in songs)]:
        raise StageError(
            f"no song to train on has {' or '.join(lost)}: take {'it' if len(lost) == 1 else 'them'} out of"
            " examples.stems"
        )
    if {song.id for song in songs} & {song.id for song in held}:
        raise StageError(f"{data} has songs of one id both to train on and held out: give every song an id of its own")
    return songs, held


def check_rate(songs: Sequence[Song], rate: int, base: str, data: str) -> None:
    """Raise StageError for songs that are not at the sampling rate (Hz) of the base."""
    if wrong := [song for song in songs if song.rate != rate]:
        raise StageError(
            f"{wrong[0].id} is at {wrong[0].rate} Hz, and {base} works at {rate} Hz: stage prepare {data} OUT --rate"
            f" {rate}"
        )


def split(songs: Sequence[Song], stems: Sequence[str], held: int) -> tuple[list[Song], list[Song]]:
    """(to train on, held out), of the songs with a target stem.

    By the songs' own splits where they have some: a validation split before a test split, and songs of other splits are
    not used; else the last ``held`` by id are held out, as by the paper's authors.

    Raises StageError where nothing is left to train on.
    """
    usable = sorted((song for song in songs if any(stem in song.stems for stem in stems)), key=lambda song: song.id)
    if not usable:
        there = ", ".join(sorted({stem for song in songs for stem in song.stems})) or "none"
        raise StageError(f"no song has {' or '.join(stems)} among its stems; those there are: {there}")
    named = {song.split for song in usable} - {None}
    if "train" in named and len(named) > 1:
        chosen = next((name for name in HELD if name in named), None)
        return [s for s in usable if s.split == "train"], [s for s in usable if chosen and s.split == chosen]
    held = min(held, len(usable) // 2)
    return usable[: len(usable) - held], usable[len(usable) - held :]
