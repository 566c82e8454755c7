"""Our own beat network, for music without drums: a dilated convolutional network over past and future.

BeatNet's networks (`stage.beats.beatnet`) depend on the past only and were trained mostly on music with drums. This one
reads the same features; its dilations double from layer to layer (Davies, Böck: "Temporal convolutional networks for
musical audio beat tracking", EUSIPCO 2019), so that the last layer depends on 40 s to both sides.
Trained on our corpus (`stage train tracker`).
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

PIECE, MARGIN = 15000, 2100
"""Frames that are processed at once, and those beyond on either side that they depend on."""


class BeatTcn(nn.Module):
    """0.3 M parameters. `width` channels, `layers` residual convolutions of 5 frames."""

    def __init__(self, width: int = 64, layers: int = 10) -> None:
        super().__init__()
        self.enter = nn.Linear(2 * BANDS, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2 * 2**i, dilation=2**i) for i in range(layers)
        )
        self.mixers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, 3)

    def forward(self, features: Tensor, dropout: float = 0.0) -> Tensor:
        """features: [B, T, 272] float32. Returns logits [B, T, 3]: beat that is not a downbeat, downbeat, neither."""
        x = F.gelu(self.enter(features))
        for norm, convolution, mixer in zip(self.norms, self.convolutions, self.mixers):
            y = convolution(norm(x).transpose(1, 2)).transpose(1, 2)
            x = x + mixer(F.dropout(F.gelu(y), dropout, self.training))
        return self.classify(self.norm(x))


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
