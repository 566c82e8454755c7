"""Examples cut and encoded once, as shards of tokens, for training without audio, augmentation or codec in the loop.

The cache holds examples 0 .. N - 1 of the recipe, with the augmentation (speed, pitch, subset of stems, mix or click)
that they were
cut with: each song comes in about N / songs views. What is cheap is drawn anew at every use: the order, the crop of the
context, and
the dropouts of context, text and words. A cache of 20,000 examples of 10 s takes about 160 MB with MusicGen's codec.

    CACHE/<key>/00000.safetensors   target [n, K, T], context [n, K, T] int16, frames [n] (-1: no context), words in the
    metadata
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stage.data.examples import CutOptions, Example
from stage.errors import StageError
from stage.models.codec import Codec
from stage.training.finetune.batches import UNDROPPED, Cuts, collate, encode

SHARD = 64


def undropped(options: CutOptions) -> CutOptions:
    """The options that a cache is cut with: whole contexts, and nothing dropped."""
    return dataclasses.replace(options, **UNDROPPED)


def key(options: CutOptions, seed: int, songs: Sequence[str], codec: Codec) -> str:
    """Names the examples and the codec, not how many there are: a cache can grow."""
    probe = codec.encode(torch.sin(torch.arange(codec.hop * 16) * 0.05)[None].to(_device(codec)))
    said = json.dumps(
        [dataclasses.asdict(undropped(options)), seed, list(songs), codec.sample_rate, codec.hop, probe.tolist()],
        default=str,
    )
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _device(codec: Codec) -> torch.device:
    module = getattr(codec, "model", codec)
    parameter = next(module.parameters(), None) if isinstance(module, torch.nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


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
    """Cut and encode what is not there yet; each process takes every world-th shard. on_shard: told shards done and in
    all."""
    shards = -(-count // SHARD)
    folder.mkdir(parents=True, exist_ok=True)
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


def _write(place: Path, parts: list) -> None:
    target = torch.cat([part.target for part in parts])
    contexts = [context for part in parts for context in part.contexts]
    whole = torch.zeros_like(target)
    for row, context in zip(whole, contexts):
        if context is not None:
            row[:, : context.shape[1]] = context
    frames = torch.tensor([-1 if context is None else context.shape[1] for context in contexts])
    words = [[one for part in parts for one in getattr(part, name)] for name in ("songs", "stems", "kinds", "texts")]
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        save_file(
            {"target": target.short(), "context": whole.short(), "frames": frames},
            partial,
            {"words": json.dumps(words)},
        )
        os.replace(partial, place)
    except Exception as error:
        partial.unlink(missing_ok=True)
        raise StageError(
            f"the token cache could not be written ({str(error).splitlines()[0]}): make room, or train with --cache"
            " none"
        ) from None


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
            with safe_open(str(place), "pt") as file:
                words = json.loads(file.metadata()["words"])
            self.shards[shard] = (load_file(place), words)
        return self.shards[shard]
