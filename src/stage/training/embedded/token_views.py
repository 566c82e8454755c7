"""Songs to token views: everything a training example is cut from, encoded once.

A view of a song holds, all on one time line: each target stem, a mix for each target (a random non-empty subset of the
other stems, treated like a real recording), the clicks of the beats, and a grid with the errors of a tracker. Speed and
pitch are changed for a share of the views, alike for every part (arXiv 2504.05690, training protocol).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from stage import fingerprint
from stage.beats.grid import BeatGrid, click_track
from stage.corpus.read import CorpusSong, songs
from stage.data.examples import stretch
from stage.errors import StageError
from stage.models.codec import Codec, encode_long
from stage.training import song_fingerprints
from stage.training.embedded.augment import add_noise, add_room, random_eq, random_gain, uniform
from stage.training.embedded.recipe import DecoderRecipe, MixOptions, TrackerErrors
from stage.training.state import save_weights


def recorded(mix: Tensor, generator: torch.Generator, options: MixOptions, rate: int) -> Tensor:
    """What a real recording may have gone through. mix: [1, N] -> [1, N]."""
    mix = random_eq(mix, generator, options.eq_db, rate)
    if float(torch.rand(1, generator=generator)) < options.room:
        mix = add_room(mix, generator, rate)
    mix = random_gain(mix, generator, *options.gain_db)
    if float(torch.rand(1, generator=generator)) < options.noise:
        mix = add_noise(mix, generator, -70, -40)
    return mix


def tracked(grid: BeatGrid, generator: torch.Generator, options: TrackerErrors) -> BeatGrid:
    """The grid as a beat tracker may find it: jitter, an offset, lost downbeats, half or double tempo."""
    times, numbers = grid.times.copy(), grid.numbers.copy()
    draw = float(torch.rand(1, generator=generator))
    meter = int(numbers.max()) if len(numbers) else 4
    if draw < options.half:
        times, numbers = times[::2], np.arange(len(times[::2])) % meter + 1
    elif draw < options.half + options.double and len(times) > 1:
        between = (times[1:] + times[:-1]) / 2
        times = np.sort(np.concatenate([times, between]))
        numbers = np.arange(len(times)) % meter + 1
    if float(torch.rand(1, generator=generator)) < options.rotate:
        numbers = (numbers + int(torch.randint(1, 4, (1,), generator=generator)) - 1) % meter + 1
    jitter = options.jitter * torch.randn(len(times), generator=generator, dtype=torch.float64).numpy()
    times = times + jitter + options.jitter * float(torch.randn(1, generator=generator))
    keep = np.concatenate([[True], np.diff(times) > 0.05]) & (times >= 0) if len(times) else np.zeros(0, bool)
    return BeatGrid(times[keep], numbers[keep])


def view(song: CorpusSong, codec: Codec, recipe: DecoderRecipe, seed: int) -> tuple[dict[str, Tensor], dict]:
    """Tokens [K, T] uint16 of one view, and its metadata.

    Returns (tensors, meta). Tensors: ``stem.NAME`` and ``mix.NAME`` (the mix for this target) of each target that
    sounds and has other stems beside it, ``click``, ``grid``, and labels: ``beats`` [n, 2] (seconds, number),
    ``chords`` [m, 15] (start, end, root or -1, twelve pitch classes).
    """
    generator = torch.Generator().manual_seed(seed)
    rate, options = codec.sample_rate, recipe.views
    speed = float(uniform(generator, 0.8, 1.2, 1)) if float(torch.rand(1, generator=generator)) < options.speed else 1.0
    pitch = (
        int(torch.randint(-4, 5, (1,), generator=generator))
        if float(torch.rand(1, generator=generator)) < options.pitch
        else 0
    )
    stems = {name: song.stem(name) for name in song.stems}
    if speed != 1.0 or pitch:
        stems = {n: stretch(a[None], rate, speed, 0 if n == "drums" else pitch)[0] for n, a in stems.items()}
    length = min(len(audio) for audio in stems.values())
    parts = {}
    for name in recipe.stems:
        others = [n for n in stems if n != name]
        if name in stems and others and np.abs(stems[name]).max() > 0.01:
            many = max(1, sum(bool(torch.rand(1, generator=generator) < options.keep) for _ in others))
            order = torch.randperm(len(others), generator=generator)[:many].tolist()
            mix = torch.from_numpy(sum(stems[others[i]][:length] for i in order))[None]
            parts[f"stem.{name}"] = random_gain(
                torch.from_numpy(stems[name][:length])[None], generator, *options.target_db
            )
            parts[f"mix.{name}"] = recorded(mix, generator, options, rate)
    beats = BeatGrid(np.asarray(song.beats) / speed, np.asarray(song.numbers))
    for name, grid in (("click", beats), ("grid", tracked(beats, generator, options.tracker))):
        clicks = click_track(grid, length / rate, rate)[:length]
        parts[name] = torch.from_numpy(np.pad(clicks, (0, length - len(clicks))))[None]
    codes = encode_long(codec, torch.cat(list(parts.values())).float())
    tensors = {name: code.to(torch.uint16) for name, code in zip(parts, codes)}
    return tensors | labels(song, speed, pitch), {"id": song.id} | {name: song.meta[name] for name in WORDS}


WORDS = ("captions", "stem_captions", "density", "genre", "moods")
"""What a view keeps of song.json for prompts."""


def labels(song: CorpusSong, speed: float, pitch: int) -> dict[str, Tensor]:
    """``beats`` [n, 2] (seconds, number) and ``chords`` [m, 15] (start, end, root or -1, twelve pitch classes)."""
    beats = np.stack([np.asarray(song.beats) / speed, np.asarray(song.numbers)], 1)
    chords = [_chord(chord, speed, pitch) for chord in song.meta["chords"]]
    return {
        "beats": torch.tensor(beats, dtype=torch.float32).reshape(-1, 2),
        "chords": torch.tensor(chords, dtype=torch.float32).reshape(-1, 15),
    }


def _chord(chord: dict, speed: float, pitch: int) -> list[float]:
    root = -1 if chord["root"] is None else (chord["root"] + pitch) % 12
    classes = {(p + pitch) % 12 for p in chord["pitch_classes"]}
    return [chord["start"] / speed, chord["end"] / speed, root] + [float(p in classes) for p in range(12)]


def prepare(
    recipe: DecoderRecipe,
    corpus: Path,
    split: str,
    out: Path,
    codec: Codec,
    worker: int = 0,
    workers: int = 1,
    limit: int | None = None,
    on_song: Callable[[int, int], None] | None = None,
) -> int:
    """Encode a view of every song of a split into ``out/<split>``; those of the same song, recipe and codec are kept.

    Run by several processes at once, each takes every ``workers``-th song. One file a song: resumable, written whole or
    not at all. on_song: called with the songs done and in all. Returns how many songs there are.
    """
    found = songs(corpus, split)[:limit]
    own = share(found, worker, workers, on_song)
    codec_key = fingerprint.of_weights(codec)
    for index, song in own:
        target = Path(out) / split / f"{song.folder.name}.safetensors"
        key = fingerprint.of_values(
            [recipe.views, recipe.stems, recipe.seed, codec_key, song_fingerprints.folder(song.folder)]
        )
        if not song_fingerprints.is_made(target, key):
            make = partial(view, song, codec, recipe, recipe.seed * 1_000_003 + index)
            write_view(target, make, song, {"key": key, "codec": codec_key})
    return len(found)


def share(
    found: Sequence[CorpusSong], worker: int, workers: int, on_song: Callable[[int, int], None] | None = None
) -> Iterator[tuple[int, CorpusSong]]:
    """Every ``workers``-th song, from the ``worker``-th on, with its index. on_song: called with the songs done and in
    all. Raises StageError for a worker that there is not, at once."""
    if not 0 <= worker < workers:
        raise StageError(f"--worker is a number from 0 to {workers - 1} (--workers {workers}), not {worker}")

    def own() -> Iterator[tuple[int, CorpusSong]]:
        for index, song in enumerate(found):
            if index % workers == worker:
                yield index, song
            if on_song is not None:
                on_song(index + 1, len(found))

    return own()


def write_view(
    target: Path, make: Callable[[], tuple[dict[str, Tensor], dict]], song: CorpusSong, keys: dict[str, str]
) -> None:
    """Write what ``make`` makes of a song: tensors, and ``meta`` and the keys as metadata. Raises StageError where
    song.json lacks or garbles something."""
    with song.checked():
        tensors, meta = make()
    save_weights(target, tensors, {"meta": json.dumps(meta), **keys})


def load_views(folder: Path, codec: Codec | None = None, command: str = "stage train views") -> list[dict]:
    """All views of a folder, in memory: tensors and ``meta``. command: the one that makes them.

    Raises StageError where there is none, one is damaged, or one was encoded by another codec than the one given.
    """
    views, codec_key = [], None if codec is None else fingerprint.of_weights(codec)
    for path in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safe_open(str(path), "pt") as file:
                known = file.metadata() or {}
            views.append({**load_file(path), "meta": json.loads(known["meta"])})
        except (OSError, SafetensorError, KeyError, ValueError):
            raise StageError(f"{path} is damaged: delete it, and {command} makes it again") from None
        if codec_key and known.get("codec", codec_key) != codec_key:
            raise StageError(f"{path} was encoded by another codec: give its --codec, or make the views again")
    if not views:
        raise StageError(f"no views in {folder}: {command} makes them")
    return views
