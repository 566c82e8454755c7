"""A stand-in for `stage.data`, as far as training needs it, until that wing is there: to be deleted then."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from stage.rhythm import BeatGrid, click_track


@dataclass(frozen=True)
class Song:
    id: str
    rate: int
    samples: int
    stems: dict
    beats: np.ndarray
    split: str | None
    genres: tuple = ()
    moods: tuple = ()

    def read(self, roles, start, samples):
        out = np.zeros((1, samples), np.float32)
        for role in [roles] if isinstance(roles, str) else roles:
            part = soundfile.read(self.stems[role], start=start, frames=max(0, min(samples, self.samples - start)), dtype="float32")[0]
            out[0, : len(part)] += part
        return out


def open_songs(path, kind="auto"):
    songs = []
    for file in sorted(Path(path).glob("*/*/song.json")):
        meta = json.loads(file.read_text())
        stems = {name: file.parent / f"{name}.flac" for name in meta["stems"]}
        beats = np.stack([meta["beats"], meta["downbeat_numbers"]], 1).astype(float)
        songs.append(Song(meta["id"], meta["rate"], meta["samples"], stems, beats, file.parent.parent.name, (meta["genre"],), tuple(meta["moods"])))
    return songs


@dataclass(frozen=True)
class CutOptions:
    stems: tuple[str, ...] = ("drums",)
    seconds: float = 10.0
    crop: tuple[float, float] = (5.0, 10.0)
    whole_context: float = 0.05
    click: float = 0.5
    click_pairs: bool = True
    context_dropout: float = 0.1
    text_dropout: float = 0.5
    word_dropout: float = 0.3
    speed_probability: float = 0.5
    pitch_probability: float = 0.5
    leave_out: tuple[str, ...] = ("vocals", "other")


@dataclass(frozen=True)
class Example:
    song: str
    stem: str
    kind: str
    target: np.ndarray
    context: np.ndarray | None
    text: str


class Cutter:
    def __init__(self, songs, options, seed):
        self.songs, self.options, self.seed = songs, options, seed

    def __call__(self, number):
        options, rng = self.options, np.random.default_rng([self.seed, number])
        song = self.songs[rng.integers(len(self.songs))]
        stem = options.stems[rng.integers(len(options.stems))]
        size = round(options.seconds * song.rate)
        start, draws = int(rng.integers(max(1, song.samples - size))), rng.random(5)
        low, high = options.crop
        crop = size if draws[0] < options.whole_context else round((low + (high - low) * draws[1]) * song.rate)
        kind = "click" if options.click_pairs and draws[2] < options.click else "mix"
        if kind == "click":
            grid = BeatGrid(song.beats[:, 0], song.beats[:, 1].astype(int)).crop(start / song.rate, (start + size) / song.rate)
            context = click_track(grid, size / song.rate, song.rate)[:size][None].astype(np.float32)
        else:
            context = song.read([role for role in song.stems if role != stem], start, size)
        text = f"Genres: {song.genres[0]}. Moods: {song.moods[0]}."
        return Example(song.id, stem, kind, song.read(stem, start, size), None if draws[3] < options.context_dropout else context[:, :crop],
                       "" if draws[4] < options.text_dropout else text)  # fmt: skip


def install() -> None:
    """Make `stage.data`, `stage.data.song` and `stage.data.examples` of what is here."""
    here = sys.modules[__name__]
    for name, own in (("", "open_songs"), (".song", "Song open_songs"), (".examples", "CutOptions Example Cutter")):
        module = ModuleType(f"stage.data{name}")
        module.__path__ = []
        for each in own.split():
            setattr(module, each, getattr(here, each))
        sys.modules[module.__name__] = module
