"""musicnn (Pons, Serra 2019), a tagger of music, as an embedding that works offline: its weights are in the package
(ISC licence)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.audio import filters
from stage.audio.files import resample
from stage.evaluation.figures.sound import slaney_bank

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "musicnn.safetensors"
RATE, FFT, HOP, MELS = 16000, 512, 256, 96
PATCH = 187
"""Frames of a patch: three seconds."""
DIM = 200


class Conv(nn.Module):
    """Convolution, ReLU, then batch normalisation, in this order."""

    def __init__(self, inside: int, outside: int, kernel: tuple[int, int]):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inside, outside, kernel), nn.BatchNorm2d(outside, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, outside, H', W']."""
        return self.norm(F.relu(self.conv(x)))


class Musicnn(nn.Module):
    """Log-mel patches [B, T, 96] -> the layer before the tags [B, 200]; `tags` reads the 50 tags from it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.BatchNorm2d(1, eps=1e-3)
        self.timbre = nn.ModuleList(Conv(1, 204, (7, width)) for width in (38, 67))
        self.tempo = nn.ModuleList(Conv(1, 51, (height, 1)) for height in (128, 64, 32))
        self.middle = nn.ModuleList(Conv(1, 64, (7, width)) for width in (561, 64, 64))
        self.pooled, self.dense = nn.BatchNorm1d(2 * 753, eps=1e-3), nn.Linear(2 * 753, DIM)
        self.norm, self.tags = nn.BatchNorm1d(DIM, eps=1e-3), nn.Linear(DIM, 50)

    def forward(self, mels: Tensor) -> Tensor:
        """See the class."""
        x = self.enter(mels[:, None])
        front = [block(F.pad(x, (0, 0, 3, 3))).amax(3) for block in self.timbre]
        for block in self.tempo:
            height = block.conv.kernel_size[0]
            front.append(block(F.pad(x, (0, 0, (height - 1) // 2, height // 2))).amax(3))
        maps = [torch.cat(front, 1).transpose(1, 2)]  # [B, T, 561]
        for place, block in enumerate(self.middle):
            convolved = block(F.pad(maps[-1][:, None], (0, 0, 3, 3)))[..., 0].transpose(1, 2)
            maps.append(convolved if place == 0 else convolved + maps[-1])
        every = torch.cat(maps, 2)
        # the original flattens pairs (largest, mean) of each channel side by side
        pooled = torch.stack([every.amax(1), every.mean(1)], 2).flatten(1)
        return self.norm(F.relu(self.dense(self.pooled(pooled))))


@cache
def load() -> Musicnn:
    """The network, trained on the tags of the Million Song Dataset."""
    from stage.checkpoints.tensors import fill

    return fill(Musicnn(), WEIGHTS).float().eval()


def log_mels(audio: np.ndarray, rate: int) -> np.ndarray:
    """Features of the network: float32 [T, 96], log10(1 + 10000 * power in mel bands). audio: float32 [N] at `rate`
    Hz."""
    mono = np.pad(resample(np.asarray(audio, np.float32), rate, RATE), (FFT // 2, FFT // 2))
    frames = filters.frames(mono, FFT, HOP)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1)))
    return np.log10(10000 * (power @ slaney_bank(RATE, MELS, FFT)) + 1).astype(np.float32)


@torch.inference_mode()
def embed(audio: np.ndarray, rate: int) -> np.ndarray:
    """float32 [windows, 200], one for every three seconds, the last filled up with silence. audio: float32 [N]."""
    mels = log_mels(audio, rate)
    count = max(1, round(len(mels) / PATCH))
    mels = np.pad(mels, ((0, max(0, count * PATCH - len(mels))), (0, 0)))[: count * PATCH]
    return load()(torch.from_numpy(mels.reshape(count, PATCH, MELS))).numpy()
