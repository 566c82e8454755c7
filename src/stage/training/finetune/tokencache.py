"""Examples cut and encoded once, as shards of tokens, for training without audio, augmentation or codec in the loop.

The cache holds examples 0 .. N - 1 of the recipe, with the augmentation (speed, pitch, subset of stems, mix or click)
that they were cut with: each song comes in about N / songs views. What is cheap is drawn anew at every use: the order,
the crop of the context, and the dropouts of context, text and words. A cache of 20,000 examples of 10 s takes about
160 MB with MusicGen's codec.

    CACHE/<key>/00000.safetensors   target [n, K, T], context [n, K, T] int16, frames [n] (-1: no context); songs,
                                    stems, kinds and texts in the metadata
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from stage import fingerprint
from stage.data.examples import CutOptions, Cutter, Example
from stage.data.song import Song
from stage.errors import StageError
from stage.models.codec import Codec, frame_rate
from stage.training import song_fingerprints, state
from stage.training.finetune.batches import UNDROPPED, Cuts, Loaded, collate, encode
from stage.training.finetune.recipe import Recipe

SHARD = 64
VERSION = 2
"""Part of the key; to be raised where examples are cut in another way."""


def undropped(options: CutOptions) -> CutOptions:
    """The options that a cache is cut with: whole contexts, and nothing dropped."""
    return dataclasses.replace(options, **UNDROPPED)


def key(options: CutOptions, seed: int, songs: Sequence[Song], codec: Codec) -> str:
    """Names what the examples are made of: options, seed, the songs' audio and metadata, the codec's weights. How many
    there are does not count: a cache can grow."""
    return fingerprint.of_values(
        [
            VERSION,
            undropped(options),
            seed,
            song_fingerprints.songs(songs),
            codec.sample_rate,
            fingerprint.of_weights(codec),
        ]
    )


def cutter(
    songs: Sequence[Song], recipe: Recipe, codec: Codec, out: Path, fabric: Any, on_note: Callable[[str], None]
) -> Callable[[int], Example]:
    """What cuts a run's examples: from audio, or, with ``loader.cache`` tokens, from a cache that is made first.

    out: the run's folder. on_note: called with sentences for the user.
    """
    if recipe.loader.cache == "none":
        return Cutter(songs, recipe.examples, recipe.seed)
    place = Path(recipe.loader.cache_folder or out / "tokens") / key(recipe.examples, recipe.seed, songs, codec)
    count = recipe.loader.cached_examples
    on_note(f"token cache of {count} examples: {place}")

    def on_shard(done: int, shards: int) -> None:
        if 10 * done // shards > 10 * (done - 1) // shards:
            on_note(f"token cache: {100 * done // shards} %")

    whole = Cutter(songs, undropped(recipe.examples), recipe.seed)
    processes = {"rank": fabric.global_rank, "world": fabric.world_size}
    fill(place, count, whole, codec, fabric.device, on_shard=on_shard, **processes)
    fabric.barrier()
    shortest, longest = (round(seconds * frame_rate(codec)) for seconds in recipe.examples.crop)
    return TokenCache(place, count, recipe.examples, recipe.seed, (shortest, longest))


def fill(
    folder: Path,
    count: int,
    cut: Callable[[int], Example],
    codec: Codec,
    device: torch.device,
    batch: int = 8,
    rank: int = 0,
    world: int = 1,
    on_shard: Callable[[int, int], None] | None = None,
) -> None:
    """Cut and encode what is not there yet; each process takes every world-th shard. on_shard: called with the shards
    done and in all."""
    shards = -(-count // SHARD)
    source = Cuts(cut)
    for shard in range(shards):
        place = folder / f"{shard:05d}.safetensors"
        if shard % world == rank and not place.exists():
            parts = []
            for first in range(shard * SHARD, (shard + 1) * SHARD, batch):
                parts.append(
                    encode(
                        collate([source[number] for number in range(first, min(first + batch, (shard + 1) * SHARD))]),
                        codec,
                        device,
                    )
                )
            _write(place, parts)
        if on_shard is not None:
            on_shard(shard + 1, shards)


def _write(place: Path, parts: list[Loaded]) -> None:
    target = torch.cat([part.target for part in parts])
    contexts = [context for part in parts for context in part.contexts]
    whole = torch.zeros_like(target)
    for row, context in zip(whole, contexts):
        if context is not None:
            row[:, : context.shape[1]] = context
    frames = torch.tensor([-1 if context is None else context.shape[1] for context in contexts])
    words = [[one for part in parts for one in getattr(part, name)] for name in ("songs", "stems", "kinds", "texts")]
    tensors = {"target": target.short(), "context": whole.short(), "frames": frames}
    state.save_weights(place, tensors, {"words": json.dumps(words)})


class TokenCache:
    """Called with a number like a ``Cutter``; its examples hold codes (int64) in place of audio.

    Every example is used once before one is used again. frames: shortest and longest crop of a context.
    """

    def __init__(self, folder: Path, count: int, options: CutOptions, seed: int, frames: tuple[int, int]):
        self.folder, self.count, self.options, self.seed, self.frames = folder, count, options, seed, frames
        self.shards: dict[int, tuple[dict, list]] = {}

    @lru_cache(maxsize=2)
    def order(self, epoch: int) -> np.ndarray:
        """The order of the examples in this epoch."""
        return np.random.default_rng([self.seed, 1, epoch]).permutation(self.count)

    def __call__(self, number: int) -> Example:
        index = int(self.order(number // self.count)[number % self.count])
        tensors, words = self._shard(index // SHARD)
        place = index % SHARD
        song, stem, kind, text = (column[place] for column in words)
        rng, options = np.random.default_rng([self.seed, 2, number]), self.options
        draws = rng.random(4)
        frames, context = int(tensors["frames"][place]), None
        if frames >= 0 and draws[0] >= options.context_dropout:
            low, high = self.frames
            crop = frames if draws[1] < options.whole_context else min(frames, round(low + (high - low) * draws[2]))
            context = tensors["context"][place, :, :crop].numpy().astype(np.int64)
        kept = rng.random(len(text.split())) >= options.word_dropout
        text = (
            "" if draws[3] < options.text_dropout else " ".join(word for word, keep in zip(text.split(), kept) if keep)
        )
        return Example(
            song=song,
            stem=stem,
            kind=kind,
            target=tensors["target"][place].numpy().astype(np.int64),
            context=context,
            text=text,
        )

    def _shard(self, shard: int) -> tuple[dict, list]:
        if shard not in self.shards:
            place = self.folder / f"{shard:05d}.safetensors"
            try:
                with safe_open(str(place), "pt") as file:
                    words = json.loads(file.metadata()["words"])
                self.shards[shard] = (load_file(place), words)
            except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
                raise StageError(
                    f"{place} is damaged ({type(error).__name__}): delete it, and the next start makes it again"
                ) from None
        return self.shards[shard]
