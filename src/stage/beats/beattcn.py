"""Our own beat network, for music without drums: a dilated convolutional network over past and future.

BeatNet's networks (`stage.beats.beatnet`) depend on the past only and were trained mostly on music with drums. This one
reads the same features; its dilations double from layer to layer (Davies, Böck: "Temporal convolutional networks for
musical audio beat tracking", EUSIPCO 2019), then three layers more reach as far, so that what was found a few bars away
decides between a tempo, its half and its double. Trained on our corpus (`stage train tracker`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.beats.beatnet import BANDS, packaged
from stage.threads import one_thread

WEIGHTS = Path(__file__).parents[1] / "weights" / "beattcn.safetensors"

DILATIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 8, 32, 128)
"""Of the layers, in frames. With five taps each the last one depends on 27 s to both sides."""

PIECE, MARGIN = 15000, 1400
"""Frames that are processed at once, and those beyond on either side that they depend on."""


class BeatTcn(nn.Module):
    """0.3 M parameters. `width` channels, `layers` residual convolutions of 5 frames, with the first of `DILATIONS`."""

    def __init__(self, width: int = 64, layers: int = len(DILATIONS)) -> None:
        super().__init__()
        self.dilations = DILATIONS[:layers]
        self.enter = nn.Linear(2 * BANDS, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.dilations)
        self.convolutions = nn.ModuleList(nn.Linear(5 * width, width) for _ in self.dilations)
        self.mixers = nn.ModuleList(nn.Linear(width, width) for _ in self.dilations)
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, 3)

    def forward(self, features: Tensor, dropout: float = 0.0) -> Tensor:
        """features: [B, T, 272] float32. Returns logits [B, T, 3]: beat that is not a downbeat, downbeat, neither."""
        x = F.gelu(self.enter(features))
        for dilation, norm, convolution, mixer in zip(self.dilations, self.norms, self.convolutions, self.mixers):
            y = F.gelu(convolution(taps(norm(x), dilation)))
            if self.training and dropout:  # whole channels: fewer draws
                y = y * F.dropout(torch.ones_like(y[:, :1]), dropout)
            x = x + mixer(y)
        return self.classify(self.norm(x))


def taps(x: Tensor, dilation: int) -> Tensor:
    """Each frame of x [B, T, C] with two before and two after it, `dilation` apart: [B, T, 5 * C], zeros beyond both
    ends. With it a dilated convolution is one product of matrices, which a CPU computes faster than `Conv1d`.
    """
    padded = F.pad(x, (0, 0, 2 * dilation, 2 * dilation))
    return torch.cat([padded[:, n * dilation :][:, : x.shape[1]] for n in range(5)], dim=-1)


@torch.inference_mode()
def own(spectra: np.ndarray) -> np.ndarray:
    """The network's probabilities: float64 [T, 2] as those of `published`.

    spectra: what `stage.beats.beatnet.features` returned.
    """
    frames = torch.from_numpy(spectra)
    pieces = []
    for first in range(0, len(frames), PIECE):  # an hour at once would take a gigabyte
        left, right = max(0, first - MARGIN), min(len(frames), first + PIECE + MARGIN)
        with one_thread():  # 10 s of sound take it .1 s
            pieces.append(beat_tcn()(frames[None, left:right])[0, first - left : first - left + PIECE])
    return torch.cat(pieces).softmax(-1)[:, :2].double().numpy()


@lru_cache(maxsize=1)
def beat_tcn() -> BeatTcn:
    """The network with its weights, loaded once."""
    network = BeatTcn()
    network.load_state_dict(packaged(WEIGHTS))
    return network.eval()
