"""The context encoder: features of a mix at each of its moments, from what is before and behind it.

The decoder's own attention runs forward only, and a small one learns hardly any beat from a mix's tokens. These dilated
convolutions see the whole context (as trackers of beats do: Davies, Böck, EUSIPCO 2019). What they found is added,
before the first layer, to the context's columns and to the target's columns of the same moment, which share their
positions. Part of the shipped models; the released STAGE models have none.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ContextEncoder(nn.Module):
    """Residual convolutions of 5 columns whose dilation doubles from layer to layer; adds nothing before it is
    trained."""

    def __init__(self, dim: int, width: int, layers: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout
        self.enter_norm = nn.LayerNorm(dim)
        self.enter = nn.Linear(dim, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2 * 2**i, dilation=2**i) for i in range(layers)
        )
        self.mixers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.leave_norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, dim)
        self.beside = nn.Linear(width, dim, bias=False)
        for last in (self.leave.weight, self.leave.bias, self.beside.weight):
            nn.init.zeros_(last)

    def forward(self, x: Tensor, mask: Tensor, positions: Tensor, moments: int) -> tuple[Tensor, Tensor]:
        """Encode the context's columns x [B, S, D].

        mask: [B, S] bool, the context's columns; the others count as silence. positions: [B, S] int64, below
        ``moments``.
        Returns what to add to x, and what to add to the target's columns by their positions, [B, moments, D].
        """
        there = mask[..., None].to(x.dtype)
        y = self.enter(self.enter_norm(x)) * there
        for norm, convolution, mixer in zip(self.norms, self.convolutions, self.mixers):
            near = convolution((norm(y) * there).transpose(1, 2)).transpose(1, 2)
            y = y + mixer(F.dropout(F.gelu(near), self.dropout, self.training)) * there
        found = self.leave_norm(y) * there
        moment = found.new_zeros(len(x), moments, found.shape[-1])
        moment = moment.scatter_add(1, positions[..., None].expand_as(found), found)
        return self.leave(found) * there, self.beside(moment)
