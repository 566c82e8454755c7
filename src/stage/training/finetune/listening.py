"""Listening examples of a run: what the model plays on held-out songs, to be compared with the true stems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stage.audio.files import write
from stage.beats.grid import BeatGrid, click_track
from stage.data.song import Song
from stage.generation.picture import draw
from stage.pipeline import Accompaniment, Stage
from stage.training.finetune.recipe import Recipe

PEAK = 0.01
"""Below this a stretch is silent, as in the paper."""


def sounding(song: Song, stem: str, samples: int) -> int | None:
    """The first place, in samples, from which a stem sounds in most of a stretch; None where it is silent."""
    step = max(1, samples // 2)
    for start in range(0, max(1, song.samples - samples + 1), step):
        halves = np.split(np.abs(song.read(stem, start, samples // 2 * 2)[0]), 2)
        if all(half.size and half.max() > PEAK for half in halves):
            return start
    return None


@torch.no_grad()
def listen(stage: Stage, songs: Sequence[Song], recipe: Recipe, folder: Path, many: int = 2) -> list[Path]:
    """For each target stem and kind of context up to ``many`` held-out songs: what the model plays, its context and the
    true stem as WAV, and a picture of the waveforms over the beats. Returns the files."""
    rate, made = stage.codec.sample_rate, []
    samples = round(min(recipe.examples.seconds, stage.config.window_seconds) * rate)
    kinds = stage.decoder.config.contexts
    for stem in recipe.stems:
        places = ((song, sounding(song, stem, samples)) for song in songs if stem in song.stems)
        for song, start in [place for place in places if place[1] is not None][:many]:
            grid, contexts = _contexts(song, stem, start, samples, recipe)
            true = song.read(stem, start, samples)[0]
            for kind, context in contexts.items():
                slot = "grid" if kind == "click" and "grid" in kinds else kinds[-1]
                audio = stage.generate_audio({slot: context}, stem, "", samples / rate, (recipe.seed,))
                name = f"{stem}-{kind}-{safe(song.id)}"
                for ending, sound in (("", audio[0]), (".context", context), (".true", true)):
                    made.append(folder / f"{name}{ending}.wav")
                    write(made[-1], sound, rate, force=True)
                made.append(folder / f"{name}.png")
                shown = Accompaniment(stem, audio, context[None], rate, (recipe.seed,), grid)
                draw(made[-1], shown, 0, name, force=True)
    return made


def _contexts(
    song: Song, stem: str, start: int, samples: int, recipe: Recipe
) -> tuple[BeatGrid, dict[str, np.ndarray]]:
    """The beats of a stretch, and its contexts by kind, "mix" and "click", float32 [samples] each."""
    grid = BeatGrid.empty()
    if song.beats is not None and len(song.beats):
        beats = np.asarray(song.beats)
        grid = BeatGrid(beats[:, 0], beats[:, 1].astype(int)).crop(start / song.rate, (start + samples) / song.rate)
    others = [role for role in song.stems if role != stem and role not in recipe.examples.leave_out]
    contexts = {"mix": song.read(others, start, samples)[0]} if others else {}
    if len(grid):
        contexts["click"] = click_track(grid, samples / song.rate, song.rate)[:samples]
    return grid, contexts


def safe(name: str) -> str:
    """A song's id as a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:60]
