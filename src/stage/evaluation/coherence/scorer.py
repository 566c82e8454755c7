"""The offline scorer: how well does a stem fit a context? A small network that compares them frame by frame.

The idea is COCOLA's (arXiv 2404.16969): sub-mixes of the same moment belong together, a bilinear form compares their
embeddings, and it is trained with cross-entropy over a batch. Ours compares frames of the same time, so that its score
depends on whether beats fall together and notes fit the sounding chord, and not only on whether the sounds are alike.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.errors import StageError
from stage.evaluation.coherence import spectra

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "scorer.safetensors"
SECONDS = 5.0
WIDTH, LAYERS, DIM = 128, 5, 48


class Scorer(nn.Module):
    """Residual convolutions over time with a reach of about two seconds, then a bilinear form. Stem and context share
    the network."""

    def __init__(self, width: int = WIDTH, layers: int = LAYERS, dim: int = DIM):
        super().__init__()
        self.enter = nn.Conv1d(spectra.BANDS, width, 5, padding=2)
        self.blocks = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, padding=2**i, dilation=2**i) for i in range(layers))
        self.outs = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.leave = nn.Conv1d(width, dim, 1)
        self.similarity = nn.Parameter(torch.eye(dim))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def embed(self, levels: Tensor) -> Tensor:
        """`spectra.levels` [B, T, 112] -> unit vectors [B, T, dim]."""
        x = self.enter(levels.transpose(1, 2))
        for block, out in zip(self.blocks, self.outs):
            value, gate = block(F.gelu(x)).chunk(2, 1)
            x = x + out(value * gate.sigmoid())
        return F.normalize(self.leave(x).transpose(1, 2), dim=-1)

    def compare(self, stems: Tensor, contexts: Tensor) -> Tensor:
        """Every stem with every context: [B, T, dim], [C, T, dim] -> [B, C], the mean over time of x' W y."""
        return (stems @ self.similarity).flatten(1) @ contexts.flatten(1).T / stems.shape[1]

    def logits(self, stems: Tensor, contexts: Tensor) -> Tensor:
        """`compare` with the learnt temperature, for training."""
        return self.scale.exp() * self.compare(stems, contexts)


@cache
def load(path: Path = WEIGHTS, device: str = "cpu") -> Scorer:
    """The scorer of the package, or another of the same shape. Raises StageError where it cannot be read."""
    from stage.checkpoints.tensors import fill

    return fill(Scorer(), path).float().eval().to(device)


@torch.inference_mode()
def score(stem: np.ndarray, context: np.ndarray, rate: int, model: Scorer | None = None, device: str = "cpu") -> float:
    """100 times the mean similarity of the frames of a stem and a context: about -100 .. 100, higher is better.

    stem, context: float32 [N] on one time line, at `rate` Hz, at least 5 s; longer ones are compared window by window.
    Raises StageError for less.
    """
    from stage.audio.files import resample

    model = model or load(device=device)
    pair = [torch.from_numpy(resample(np.asarray(part, np.float32), rate, spectra.RATE)) for part in (stem, context)]
    length = min(len(part) for part in pair)
    size = round(SECONDS * spectra.RATE)
    if length < size:
        raise StageError(f"coherence needs {SECONDS:g} seconds of stem and context, not {length / spectra.RATE:.1f}")
    windows = torch.stack(
        [torch.stack([part[first : first + size] for part in pair]) for first in range(0, length - size + 1, size)]
    )
    made = [model.embed(spectra.levels(spectra.bands(windows[:, side].to(device)))) for side in (0, 1)]
    return float(100 * model.compare(*made).diagonal().mean())
