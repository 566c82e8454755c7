"""EfficientNet-B0 (arXiv 1905.11946) without its classifier, under the names of the package `efficientnet_pytorch`, in
which COCOLA's weights are saved.

That package is no longer maintained, and others name and pad in other ways; a test compares this network with the
package.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
"""Kernel, stride of the first block, expansion, channels in and out, blocks (table 1)."""


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow does for even inputs: with a stride of two, one less before than behind."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False):
        super().__init__(inside, outside, kernel, stride, groups=groups, bias=bias)
        total = kernel - stride if stride > 1 else kernel - 1
        self.around = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, outside, ceil(H / stride), ceil(W / stride)] for even H and W."""
        return super().forward(F.pad(x, self.around))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """Inverted residual with squeeze and excitation."""

    def __init__(self, kernel: int, stride: int, expansion: int, inside: int, outside: int):
        super().__init__()
        wide, squeezed = inside * expansion, max(1, inside // 4)
        self.stays = stride == 1 and inside == outside
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv(inside, wide, 1), _norm(wide)
        self.expands = expansion > 1
        self._depthwise_conv, self._bn1 = SameConv(wide, wide, kernel, stride, groups=wide), _norm(wide)
        self._se_reduce, self._se_expand = (
            SameConv(wide, squeezed, 1, bias=True),
            SameConv(squeezed, wide, 1, bias=True),
        )
        self._project_conv, self._bn2 = SameConv(wide, outside, 1), _norm(outside)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inside, H, W] -> [B, outside, H', W']."""
        y = F.silu(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.silu(self._bn1(self._depthwise_conv(y)))
        y = y * self._se_expand(F.silu(self._se_reduce(y.mean((2, 3), keepdim=True)))).sigmoid()
        y = self._bn2(self._project_conv(y))
        return x + y if self.stays else y


class EfficientNet(nn.Module):
    """[B, channels, H, W] -> [B, 1280, 1, 1]."""

    def __init__(self, channels: int = 2):
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(channels, 32, 3, 2), _norm(32)
        blocks = []
        for kernel, stride, expansion, inside, outside, count in STAGES:
            blocks += [
                Block(kernel, stride if i == 0 else 1, expansion, inside if i == 0 else outside, outside)
                for i in range(count)
            ]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(320, 1280, 1), _norm(1280)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.silu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.silu(self._bn1(self._conv_head(x))).mean((2, 3), keepdim=True)
