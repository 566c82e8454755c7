"""Reads the sounding chord from what the context encoder makes of a mix: the model's own reading of the harmony."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROOTS, CLASSES = 13, 12
"""Roots, the last one for no chord, and pitch classes."""


class ChordHead(nn.Module):
    """A linear reading of states [..., D]: logits of 13 roots (12: no chord) and of 12 pitch classes."""

    def __init__(self, dim: int):
        super().__init__()
        self.read = nn.Linear(dim, ROOTS + CLASSES)

    def forward(self, states: Tensor, chord: Tensor) -> Tensor:
        """states [B, T, D], chord [B, T, 13] (root or -1, pitch classes) -> loss (0-d)."""
        known = chord[..., 0] >= 0
        if not known.any():
            return states.new_zeros(())
        root, classes = self.logits(states[known]).split([ROOTS, CLASSES], dim=-1)
        return F.cross_entropy(root, chord[known][:, 0].long()) + F.binary_cross_entropy_with_logits(
            classes, chord[known][:, 1:]
        )

    def logits(self, states: Tensor) -> Tensor:
        """States [..., D] -> [..., 25]: 13 roots, then 12 pitch classes."""
        return self.read(states)

    @torch.inference_mode()
    def probabilities(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """States [T, D] -> chances of the roots [T, 13] and of the pitch classes [T, 12], float32."""
        root, classes = self.logits(states).float().split([ROOTS, CLASSES], dim=-1)
        return root.softmax(-1), classes.sigmoid()
