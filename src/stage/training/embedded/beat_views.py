"""What the beat network is trained on: the spectra of each stem of songs whose beats are known, computed once.

Mixes of any stems, at any level and tempo, are drawn from them later (`stage.training.embedded.beat_examples`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stage import fingerprint
from stage.audio.files import resample
from stage.beats.beatnet import BANDS, FRAME_RATE, RATE, features
from stage.beats.grid import BeatGrid, click_track
from stage.corpus.read import CorpusSong, songs
from stage.progress import shown
from stage.training import song_fingerprints
from stage.training.embedded.augment import uniform
from stage.training.state import save_weights

BEAT, DOWNBEAT, NEITHER = range(3)
CLASSES = "classes"
"""Name in a file of the `labels`, beside those of the stems."""
CLICKS = "clicks"
"""The one stem of a metronome."""
CLICK_SECONDS = 30.0
VERSION = 2
"""Of the files: others are made again."""


def labels(grid: BeatGrid, frames: int) -> Tensor:
    """Soft classes [frames, 3] float32: a beat fills its frame and half of its neighbours."""
    result = torch.zeros(frames, 3)
    for time_, number in zip(grid.times, grid.numbers):
        kind, at = DOWNBEAT if number == 1 else BEAT, round(float(time_) * FRAME_RATE)
        for frame, weight in ((at - 1, 0.5), (at, 1.0), (at + 1, 0.5)):
            if 0 <= frame < frames:
                result[frame, kind] = max(float(result[frame, kind]), weight)
    result[:, NEITHER] = (1 - result[:, :2].sum(1)).clamp(min=0)
    return result / result.sum(1, keepdim=True)


def prepare(corpus: Path, split: str, out: Path, clicks: float, seed: int, worker: int = 0, workers: int = 1) -> int:
    """Spectra of every song of a split into ``out/spectra/<split>``; those of the same song are kept.

    One file a song: the bands of each stem [T, 136] float16 (`stage.beats.beatnet.features`, without their rise), at
    the level at which all stems together peak at 1. Beside them metronomes, `clicks` for each song. Returns how many
    songs there are.
    """
    place = out / "spectra" / split
    found = songs(corpus, split)
    for index, song in shown(found, f"spectra of the songs in {split}"):
        if index % workers != worker:
            continue
        target = place / f"{song.folder.name}.safetensors"
        key = fingerprint.of_values([VERSION, song_fingerprints.folder(song.folder)])
        if not song_fingerprints.is_made(target, key):
            with song.checked():
                save_weights(target, of_song(song), {"key": key})
    for index in range(worker, round(clicks * len(found)), workers):
        target, key = place / f"{CLICKS}-{index:04d}.safetensors", fingerprint.of_values([VERSION, seed, index])
        if not song_fingerprints.is_made(target, key):
            save_weights(target, of_click(torch.Generator().manual_seed(seed * 1_000_003 + index)), {"key": key})
    return len(found)


def of_song(song: CorpusSong) -> dict[str, Tensor]:
    """The file of a song."""
    stems = {name: resample(song.stem(name), song.rate, RATE) for name in song.stems}
    return _spectra(stems, BeatGrid(song.beats, song.numbers))


def of_click(generator: torch.Generator) -> dict[str, Tensor]:
    """The file of a metronome in 2 to 4 beats a bar, with or without accents."""
    bpm, start, accents = (float(uniform(generator, *ends, 1)) for ends in ((60, 200), (0, 0.6), (0, 1)))
    bar = int(torch.randint(2, 5, (1,), generator=generator))
    grid = BeatGrid.regular(bpm, bar, CLICK_SECONDS, start)
    return _spectra({CLICKS: click_track(grid, CLICK_SECONDS, RATE, accents=accents < 0.7)}, grid)


def _spectra(stems: dict[str, np.ndarray], grid: BeatGrid) -> dict[str, Tensor]:
    scale = 1 / max(float(np.abs(np.sum(list(stems.values()), axis=0)).max()), 1e-4)
    bands = {n: torch.from_numpy(features(scale * audio)[:, :BANDS]).half() for n, audio in stems.items()}
    return {**bands, CLASSES: labels(grid, len(next(iter(bands.values())))).half()}
