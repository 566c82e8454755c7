"""Songs to views for models of played events: notes as they are, contexts encoded once.

A view is one song with its speed and pitch changed or not: for each target stem a mix of some of the others as codes
[K, T] at the codec's own rate, the notes of all stems, beats, chords, sections, words. Crops, errors of the tracker and
what is left out are drawn anew for every example (`event_examples`), so one view makes many.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from stage import fingerprint
from stage.audio.files import resample
from stage.beats.grid import BeatGrid
from stage.chords.estimation import estimate
from stage.corpus.read import CorpusSong, songs
from stage.data.examples import stretch
from stage.errors import StageError
from stage.models import heard
from stage.models.codec import Codec, encode_long
from stage.training import song_fingerprints
from stage.training.embedded.augment import random_gain, uniform
from stage.training.embedded.player_recipe import PlayerRecipe
from stage.training.embedded.token_views import WORDS, labels, recorded, share, write_view

MADE = 3
"""Counts changes of what views hold."""


def view(song: CorpusSong, codec: Codec, recipe: PlayerRecipe, seed: int) -> tuple[dict[str, Tensor], dict]:
    """One view: (tensors, meta).

    Tensors: ``mix.STEM`` uint16 [K, T] for each target that plays and has other stems beside it, ``slow.STEM`` and
    ``fast.STEM`` float16 what is measured of that mix (`stage.models.heard.Heard`), ``read.STEM`` [m, 15] the chords
    that are estimated from it, ``notes.STEM`` float32 [n, 4] (start, end, pitch, velocity), ``beats`` [n, 2] (seconds,
    number), ``chords`` [m, 15] (start, end, root or -1, twelve pitch classes).
    """
    generator = torch.Generator().manual_seed(seed)
    rate, options = codec.sample_rate, recipe.views
    if song.rate != rate:
        raise StageError(f"{song.folder} is at {song.rate} Hz, the codec at {rate} Hz: build the corpus at its rate")

    def chance(share: float) -> bool:
        return float(torch.rand(1, generator=generator)) < share

    speed = float(uniform(generator, 0.85, 1.18, 1)) if chance(options.speed) else 1.0
    pitch = int(torch.randint(-5, 7, (1,), generator=generator)) if chance(options.pitch) else 0
    stems = {name: song.stem(name) for name in song.stems}
    if speed != 1.0 or pitch:
        stems = {n: stretch(a[None], rate, speed, 0 if n == "drums" else pitch)[0] for n, a in stems.items()}
    length = min(len(audio) for audio in stems.values())
    parts, tensors = {}, {}
    for name in recipe.stems:
        if name not in stems or not song.meta["notes"].get(name):
            continue
        tensors[f"notes.{name}"] = _notes(song.meta["notes"][name], speed, 0 if name == "drums" else pitch)
        if others := [n for n in stems if n != name]:
            many = max(1, sum(chance(options.keep) for _ in others))
            order = torch.randperm(len(others), generator=generator)[:many].tolist()
            mix = torch.from_numpy(sum(stems[others[i]][:length] for i in order))[None]
            parts[f"mix.{name}"] = random_gain(recorded(mix, generator, options, rate), generator, 0.0, 0.0)
    if parts:
        for name, part in parts.items():
            measured = heard.measure(resample(part[0].float().numpy(), rate, heard.RATE))
            which = name.removeprefix("mix.")
            tensors[f"slow.{which}"] = torch.from_numpy(measured.slow).half()
            tensors[f"fast.{which}"] = torch.from_numpy(measured.fast).half()
            chords = estimate(part[0].float().numpy(), rate, BeatGrid(song.beats / speed, song.numbers), cents=0.0)
            rows = [
                [a, b, root, *(float(p in classes) for p in range(12))] for a, b, root, classes in chords.features()
            ]
            tensors[f"read.{which}"] = torch.tensor(rows).reshape(-1, 15)
        codes = encode_long(codec, torch.cat(list(parts.values())).float())
        tensors |= {name: code.to(torch.uint16) for name, code in zip(parts, codes)}
    meta = {"id": song.id} | {name: song.meta[name] for name in WORDS}
    meta["stems"] = {name: song.meta["stems"][name] for name in song.stems}
    meta["sections"] = [[s["start"] / speed, s["end"] / speed, s["kind"]] for s in song.meta["sections"]]
    meta["seconds"] = length / rate
    return tensors | labels(song, speed, pitch), meta


def _notes(notes: list[list[float]], speed: float, pitch: int) -> Tensor:
    made = torch.tensor(notes, dtype=torch.float32).reshape(-1, 4)
    made[:, :2] /= speed
    made[:, 2] += pitch
    return made


def prepare(
    recipe: PlayerRecipe,
    corpus: Path,
    split: str,
    out: Path,
    codec: Codec,
    worker: int = 0,
    workers: int = 1,
    limit: int | None = None,
    on_song: Callable[[int, int], None] | None = None,
) -> int:
    """``views.versions`` views of every song of a split into ``out/<split>``; those of the same song, recipe and codec
    are kept. See ``token_views.prepare`` for the rest. Returns how many songs there are."""
    found = songs(corpus, split)[:limit]
    own = share(found, worker, workers, on_song)
    codec_key = fingerprint.of_weights(codec)
    for index, song in own:
        for version in range(recipe.views.versions):
            seed = (recipe.seed * 1_000_003 + index) * 101 + version
            target = Path(out) / split / f"{song.folder.name}.{version}.safetensors"
            options = [{**vars(recipe.views), "versions": None}, recipe.stems, seed]
            key = fingerprint.of_values([MADE, options, codec_key, song_fingerprints.folder(song.folder)])
            if not song_fingerprints.is_made(target, key):
                write_view(target, partial(view, song, codec, recipe, seed), song, {"key": key, "codec": codec_key})
    return len(found)
