"""Validation and listening examples: held-out songs, the same ones each time, nothing dropped, nothing augmented."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stage.audio.files import write
from stage.beats.grid import BeatGrid, click_track
from stage.data.examples import CutOptions, Cutter
from stage.data.song import Song
from stage.errors import StageError
from stage.generation.picture import draw
from stage.models.codec import Codec
from stage.models.text import TextEncoder
from stage.pipeline import Accompaniment, Stage
from stage.training.finetune import engine
from stage.training.finetune.batches import PLAIN, Cuts, collate, encode, lay, read_text
from stage.training.finetune.recipe import Recipe

KINDS = ("mix", "click")
HELD = ("valid", "validation", "val", "heldout", "held-out", "test")
PEAK = 0.01
"""Below this a stretch is silent, as in the paper."""


def split(songs: Sequence[Song], stems: Sequence[str], held: int) -> tuple[list[Song], list[Song]]:
    """(to train on, held out). By the songs' own splits where they have some: a validation split before a test split,
    and what is
    in neither is left alone; else the last ``held`` of the songs with a target stem, by id, as the paper's authors hold
    out theirs.

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


def plain(options: CutOptions, kind: str) -> CutOptions:
    """The recipe's examples as validation sees them: this kind of context, whole, nothing dropped or changed."""
    return dataclasses.replace(options, click=1.0 if kind == "click" else 0.0, **PLAIN)


class Judge:
    """Validation loss for mix and click contexts, right and wrong ones, on examples that are cut and encoded once."""

    def __init__(
        self,
        songs: Sequence[Song],
        recipe: Recipe,
        codec: Codec,
        text: TextEncoder,
        fabric: Any,
        tell: Callable[[str], None],
    ):
        self.recipe, self.text, self.fabric = recipe, text, fabric
        self.passes: dict[str, list] = {}
        size, world = max(2, recipe.batch.size), fabric.world_size  # a wrong context needs a neighbour
        count = -(-recipe.validation.examples // (size * world))
        for kind in KINDS if songs and recipe.validation.examples else ():
            try:
                cuts = Cuts(Cutter(songs, plain(recipe.examples, kind), recipe.seed + 1))
            except StageError as error:  # no beats for clicks, say
                tell(f"no validation with {kind} contexts: {error}")
                continue
            numbers = ([(part * world + fabric.global_rank) * size + i for i in range(size)] for part in range(count))
            self.passes[kind] = [encode(collate([cuts[n] for n in many]), codec, fabric.device) for many in numbers]

    @torch.no_grad()
    def losses(self, model: Any, config: Any) -> dict[str, float]:
        """``valid/KIND`` and its codebooks, and ``gap/KIND``: how much worse the context of another example is. All
        processes ask."""
        model.eval()
        found: dict[str, float] = {}
        for kind, passes in self.passes.items():
            means = []
            for roll in (0, 1):
                parts = torch.stack([self._one(model, config, loaded, roll) for loaded in passes]).mean(0)
                means.append((engine.agree(self.fabric, parts) / self.fabric.world_size).tolist())
            right, wrong = (sum(one) / len(one) for one in means)
            found |= {f"valid/{kind}": right, f"gap/{kind}": wrong - right} | {
                f"valid/{kind}/codebook{k}": v for k, v in enumerate(means[0])
            }
        if self.passes:
            found["valid"] = sum(found[f"valid/{kind}"] for kind in self.passes) / len(self.passes)
        model.train()
        return found

    def _one(self, model: Any, config: Any, loaded: Any, roll: int) -> torch.Tensor:
        sequence = lay(config, loaded, roll).to(self.fabric.device)
        text = read_text(self.text, loaded.texts)
        return model(*flat(sequence), loaded.target.to(self.fabric.device), *text)[1]


def flat(sequence: Any) -> tuple:
    """A row as the six plain values that wrappers of modules can hand on."""
    return sequence.columns, sequence.attend, sequence.positions, sequence.segments, sequence.first, sequence.frames


# ---------------------------------------------------------------- listening


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
    """For each target stem and kind of context up to ``many`` held-out songs: what the model plays, with its context,
    the true stem, and
    a picture of the waveforms over the beats. Returns the files."""
    rate, made = stage.codec.sample_rate, []
    samples = round(min(recipe.examples.seconds, stage.config.window_seconds) * rate)
    for stem in recipe.stems:
        found = [
            (song, start)
            for song in songs
            if stem in song.stems and (start := sounding(song, stem, samples)) is not None
        ]
        for song, start in found[:many]:
            grid = BeatGrid.empty()
            if song.beats is not None and len(song.beats):
                grid = BeatGrid(np.asarray(song.beats)[:, 0], np.asarray(song.beats)[:, 1].astype(int)).crop(
                    start / rate, (start + samples) / rate
                )
            others = [role for role in song.stems if role != stem and role not in recipe.examples.leave_out]
            heard = {"mix": song.read(others, start, samples)[0]} if others else {}
            if len(grid):
                heard["click"] = click_track(grid, samples / rate, rate)[:samples]
            for kind, context in heard.items():
                slot = (
                    "grid"
                    if kind == "click" and "grid" in stage.decoder.config.contexts
                    else stage.decoder.config.contexts[-1]
                )
                audio = stage.generate_audio({slot: context}, stem, "", samples / rate, (recipe.seed,))
                name = f"{stem}-{kind}-{safe(song.id)}"
                folder.mkdir(parents=True, exist_ok=True)
                for ending, sound in (
                    ("", audio[0]),
                    (".context", context),
                    (".true", song.read(stem, start, samples)[0]),
                ):
                    write(folder / f"{name}{ending}.wav", sound, rate, force=True)
                    made.append(folder / f"{name}{ending}.wav")
                draw(
                    folder / f"{name}.png",
                    Accompaniment(stem, audio, context[None], rate, (recipe.seed,), grid),
                    0,
                    name,
                    force=True,
                )
                made.append(folder / f"{name}.png")
    return made


def safe(name: str) -> str:
    """A song's id as a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:60]
