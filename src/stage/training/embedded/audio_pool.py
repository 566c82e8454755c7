"""Random crops of stems, mixes and clicks for the training of the codec, from songs held in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from stage.beats.grid import BeatGrid, click_track
from stage.errors import StageError
from stage.training.embedded.augment import add_noise, random_eq, random_gain, uniform
from stage.training.embedded.recipe import CodecData


class AudioPool:
    """Songs of ``corpus/<split>`` as 16-bit arrays; batches depend only on the seed and their number.

    Songs that are rendered while training runs are added every ``refresh`` batches.
    """

    refresh = 100

    def __init__(self, corpus: Path, split: str, options: CodecData, seed: int, rate: int = 32000):
        self.folder, self.options, self.seed, self.rate = Path(corpus) / split, options, seed, rate
        self.songs: dict[str, dict[str, np.ndarray]] = {}
        self.count = 0
        self._load()
        if not self.songs:
            raise StageError(f"no songs in {self.folder}; make some with: stage corpus {corpus} --split {split}")

    def skip(self, batches: int) -> None:
        """Go on as if this many batches had been drawn."""
        self.count = batches

    def _load(self) -> None:
        for path in sorted(self.folder.glob("[!.]*/song.json")):
            if len(self.songs) >= self.options.songs:
                return
            if path.parent.name not in self.songs:
                if stems := {file.stem: _read(file) for file in path.parent.glob("*.flac")}:
                    self.songs[path.parent.name] = stems

    def batch(self, size: int, seconds: float) -> Tensor:
        """Crops [size, seconds * rate] float32."""
        if self.count and self.count % self.refresh == 0:
            self._load()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.count)
        self.count += 1
        names = list(self.songs)
        rows = [
            self._crop(
                self.songs[names[int(torch.randint(len(names), (1,), generator=generator))]],
                round(seconds * self.rate),
                generator,
            )
            for _ in range(size)
        ]
        audio = torch.from_numpy(np.stack(rows))
        if self.options.eq_db:
            audio = random_eq(audio, generator, self.options.eq_db, self.rate)
        audio = random_gain(audio, generator, *self.options.gain_db)
        noisy = torch.rand(size, 1, generator=generator) < self.options.noise
        return torch.where(noisy, add_noise(audio, generator, -80, -45), audio)

    def _crop(self, stems: dict[str, np.ndarray], size: int, generator: torch.Generator) -> np.ndarray:
        draw = float(torch.rand(1, generator=generator))
        if draw < self.options.click:
            bpm, start = (float(uniform(generator, *span, 1)) for span in ((60, 190), (0, 0.5)))
            meter = int(torch.randint(2, 5, (1,), generator=generator))
            return click_track(BeatGrid.regular(bpm, meter, size / self.rate, start), size / self.rate, self.rate)[
                :size
            ]
        names = list(stems)
        order = torch.randperm(len(names), generator=generator).tolist()
        many = 1 if draw < self.options.click + self.options.stem else 1 + int(draw * 1e6) % len(names)
        length = min(len(stems[name]) for name in names)
        first = int(torch.randint(max(1, length - size), (1,), generator=generator))
        crop = np.zeros(size, np.float32)
        for index in order[:many]:
            part = stems[names[index]][first : first + size]
            crop[: len(part)] += part.astype(np.float32) / 32768
        return crop


def _read(file: Path) -> np.ndarray:
    """A mono stem, int16 [N]. Raises StageError where it cannot be read."""
    try:
        return soundfile.read(file, dtype="int16", always_2d=True)[0][:, 0]
    except (OSError, soundfile.LibsndfileError):
        raise StageError(f"{file} cannot be read; delete the song's folder and build it again") from None
