"""Batches for the beat network: mixes of stems, drawn anew for every step from the spectra of `beat_views`.

All is done on magnitudes in bands, which takes a hundredth of the time that sound would take: stems are added by their
power, an equaliser and a level are factors, a room is a tail of each frame's power, another tempo is the same frames
over another time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor
from torch.nn import functional as F

from stage.beats.beatnet import BANDS
from stage.beats.tracker import PEAK
from stage.training.embedded.augment import uniform
from stage.training.embedded.beat_views import CLASSES
from stage.training.embedded.prepared import read_all
from stage.training.embedded.recipe import TrackerData

WHITE = 21.0
"""Mean magnitude of a window of white noise of standard deviation 1."""
SPECTRAL_PEAK = 0.0046
"""Peak of the sound over the norm of the bands' magnitudes in the loudest frame: the geometric mean over 24 mixes,
which differ from it by 2 dB. Mixes added by power correlate with the features of their sound by 0.995 in the bands, by
0.77 in one song's rises, in which partials of different stems beat with each other."""


class Examples:
    """The spectra in a folder, in memory; batch n depends on the seed and n alone."""

    def __init__(self, folder: Path, options: TrackerData, seed: int):
        """Raises StageError where there is nothing, or a file is damaged."""
        self.files = read_all(folder)
        self.options, self.seed = options, seed

    def batch(self, number: int, size: int, frames: int) -> tuple[Tensor, Tensor]:
        """features [rows, T, 272] float32 and classes [rows, T, 3], about size * frames frames in all.

        Half of the batches are of shorter rows, down to a quarter of `frames`, and of as many more of them.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        length = round(frames * min(1.0, float(uniform(generator, 0.25, 1.75, 1))))
        rows = round(size * frames / length)
        chosen = torch.randint(len(self.files), (rows,), generator=generator).tolist()
        parts = [self.example(self.files[index], length, generator) for index in chosen]
        return torch.stack([p[0] for p in parts]), torch.stack([p[1] for p in parts])

    def example(self, file: dict[str, Tensor], frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """features [frames, 272] float32 and classes [frames, 3] of a stretch of a song, as a new mix."""
        length = round(frames * 2 ** float(uniform(generator, -self.options.stretch, self.options.stretch, 1)))
        stems = sorted(name for name in file if name != CLASSES)
        whole = len(file[CLASSES])
        start = int(torch.randint(max(1, whole - length + 1), (1,), generator=generator))
        power = torch.zeros(min(length, whole - start), BANDS)
        for name in drawn(stems, self.options, generator):
            gain = 10 ** (float(uniform(generator, -self.options.gain_db, self.options.gain_db, 1)) / 20)
            power += (gain * (10 ** file[name][start : start + length].float() - 1)).square()
        power *= (PEAK / (SPECTRAL_PEAK * max(float(power.sum(1).max()) ** 0.5, 1e-3))) ** 2
        bands = sounding(power, self.options, generator)
        # faster or slower: the same frames over another time
        pair = [F.interpolate(x.float().T[None], size=frames, mode="linear")[0].T for x in
                (bands, file[CLASSES][start : start + length])]  # fmt: skip
        return with_rise(masked(pair[0], self.options, generator)), pair[1]


def drawn(stems: list[str], options: TrackerData, generator: torch.Generator) -> list[str]:
    """Some of the stems, mostly without drums."""
    chances = torch.rand(2, len(stems), generator=generator).tolist()
    names = [name for name, chance in zip(stems, chances[0]) if name != "drums" or chance < options.drums] or stems
    kept = [name for name, chance in zip(names, chances[1]) if chance < options.keep]
    return kept or [names[int(torch.randint(len(names), (1,), generator=generator))]]


def sounding(power: Tensor, options: TrackerData, generator: torch.Generator) -> Tensor:
    """Bands [T, 136], log10(1 + magnitude), of power [T, 136] as another recording would have it."""
    if float(torch.rand(1, generator=generator)) < options.room:
        keep = 10 ** (-6 / 10 / (50 * float(uniform(generator, 0.02, 0.12, 1))))  # falls by 60 dB in ten times this
        wet = float(uniform(generator, 0.02, 0.3, 1)) * (1 - keep)
        tail = np.asarray(lfilter([0.0, wet], [1.0, -keep], power.numpy(), axis=0), np.float32)
        power = power + torch.from_numpy(tail)
    if float(torch.rand(1, generator=generator)) < options.noise:
        level = WHITE * 10 ** (float(uniform(generator, -75, -40, 1)) / 20)
        power = power + (level * (1 + 0.3 * torch.randn(power.shape, generator=generator))).square()
    curve = F.interpolate(
        uniform(generator, -options.eq_db, options.eq_db, 1, 1, 8), size=BANDS, mode="linear", align_corners=True
    )[0, 0] + uniform(generator, -6, 6, 1)
    magnitudes = power.sqrt()
    loud = magnitudes.amax().clamp(min=1e-6)
    bend = float(uniform(generator, 1 - options.bend, 1 + options.bend, 1))  # as a compressor, or its opposite
    return torch.log10(1 + loud * (magnitudes / loud) ** bend * 10 ** (curve / 20))


def masked(bands: Tensor, options: TrackerData, generator: torch.Generator) -> Tensor:
    """The bands, some neighbours of them silent."""
    if float(torch.rand(1, generator=generator)) < options.mask:
        width, first = (int(torch.randint(n, (1,), generator=generator)) for n in (BANDS // 3, BANDS))
        bands[:, first : first + width] = 0
    return bands


def with_rise(bands: Tensor) -> Tensor:
    """Features [T, 272] of bands [T, 136]: see `stage.beats.beatnet.features`."""
    return torch.cat([bands, bands.diff(dim=0, prepend=bands[:1]).clamp(min=0)], dim=1)
