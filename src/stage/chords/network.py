"""A small network that reads chords from the notes of each beat (`stage.chords.salience`), beside the templates.

Every layer does the same to all twelve pitch classes, so that a song in another key gives the same chords there. It
sees the whole recording: through dilated convolutions over the beats, and by attention, as songs repeat their chords.
Trained on our corpus (`stage train chords`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.beats.beatnet import packaged
from stage.chords import path as paths
from stage.chords import templates
from stage.chords.salience import BASS, CHORD, Beats
from stage.threads import one_thread

WEIGHTS = Path(__file__).parents[1] / "weights" / "chords.safetensors"
KINDS = ("", "m", "7", "maj7", "m7", "6", "m6", "5", "sus4", "sus2", "7sus4", "dim", "m7b5", "add9", "9", "maj9", "m9")
"""Qualities that the network tells apart."""
NOTES = CHORD.high - CHORD.low
OCTAVES = -(-NOTES // 12), (BASS.high - BASS.low) // 12
CHANNELS = 3 * sum(OCTAVES) + 2 + len(KINDS)
"""Of a pitch class: the octaves of both registers in the beat and in each of its halves; the beat's level, and how far
it is tonal; how well the templates of all kinds on it fit."""
DILATIONS = (1, 2, 4, 8, 1)
ATTENTION = 3
"""The block before which beats look at each other."""
STATES = paths.candidates(KINDS)
QUIET = 0.1
"""Share of the recording's mean level: beats far below it are not raised to the level of others."""


def features(beats: Beats) -> dict[str, np.ndarray]:
    """What the network reads, float32: notes [T, 3, 88] of each beat and its halves, levels [T, 2], and fits [T, S] of
    the templates."""
    notes, levels = [], []
    for whole, fine in ((beats.chord, beats.chord_halves), (beats.bass, beats.bass_halves)):
        level = whole.sum(1)
        least = QUIET * level.mean() + 1e-9
        both = np.stack([whole, fine[::2], fine[1::2]], axis=1)
        notes.append(np.sqrt(both / (level + least)[:, None, None]))
        levels.append(np.log2((level + least) / (level.mean() + least)))
    made = np.stack([levels[0].clip(-3, 3), beats.tonal], axis=1)
    found = {"notes": np.concatenate(notes, axis=2), "levels": made, "fits": templates.scores(beats, STATES)}
    return {name: x.astype(np.float32) for name, x in found.items()}


def folded(notes: Tensor, levels: Tensor, fits: Tensor) -> Tensor:
    """`features` by pitch classes: [B, CHANNELS, T, 12]. C is the lowest note of both registers."""
    batch, beats = notes.shape[:2]
    chord = F.pad(notes[..., :NOTES], (0, 12 * OCTAVES[0] - NOTES)).reshape(batch, beats, 3, OCTAVES[0], 12)
    bass = notes[..., NOTES:].reshape(batch, beats, 3, OCTAVES[1], 12)
    octaves = torch.cat([chord, bass], dim=3).reshape(batch, beats, -1, 12)
    kinds = fits[..., :-1].reshape(batch, beats, -1, 12)
    return torch.cat([octaves, levels[..., None].expand(-1, -1, -1, 12), kinds], dim=2).transpose(1, 2)


class Around(nn.Module):
    """A convolution around the circle of the twelve pitch classes: [B, C, T, 12] to [B, C', T, 12]."""

    turns: Tensor

    def __init__(self, width: int, out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, width, 12) / (12 * width) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(out))
        self.register_buffer("turns", (torch.arange(12) - torch.arange(12)[:, None]) % 12, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out, width, _ = self.weight.shape
        # as one matrix of all pairs of pitch classes: faster than twelve steps of a convolution
        matrix = self.weight[:, :, self.turns].permute(0, 2, 1, 3).reshape(out * 12, width * 12)
        y = F.linear(x.transpose(1, 2).flatten(2), matrix)
        return y.unflatten(2, (out, 12)).transpose(1, 2) + self.bias[:, None, None]


class Norm(nn.Module):
    """Each beat's channels and pitch classes over their root mean square: [B, C, T, 12]."""

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean((1, 3), keepdim=True) + 1e-5) * self.scale


class Block(nn.Module):
    """Three beats at a distance, then all pitch classes; added to its input."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.norm = Norm(width)
        self.beats = nn.Conv2d(width, width, (3, 1), padding=(dilation, 0), dilation=(dilation, 1))
        self.around = Around(width, width)

    def forward(self, x: Tensor, dropout: float) -> Tensor:
        y = F.gelu(self.beats(self.norm(x)))
        return x + self.around(F.dropout(y, dropout, self.training))


class Attention(nn.Module):
    """Beats take what stands in beats like them, in the same key; added to the input."""

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.norm, self.heads = Norm(width), heads
        self.enter, self.leave = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, width, beats, _ = x.shape
        parts = self.enter(self.norm(x)).reshape(batch, 3, self.heads, width // self.heads, beats, 12)
        query, key, value = parts.permute(1, 0, 2, 4, 3, 5).flatten(4)
        mixed = F.scaled_dot_product_attention(query, key, value).reshape(batch, self.heads, beats, -1, 12)
        return x + self.leave(mixed.transpose(2, 3).reshape(batch, width, beats, 12))


class ChordNetwork(nn.Module):
    """0.1 M parameters: `width` channels for each pitch class. What it finds is added to the fits of the templates."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter = Around(CHANNELS, width)
        self.blocks = nn.ModuleList(Block(width, dilation) for dilation in DILATIONS)
        self.attention = Attention(width)
        self.norm = Norm(width)
        self.classify = Around(width, len(KINDS))
        self.silence = nn.Linear(2 * width, 1)
        self.templates = nn.Parameter(torch.tensor(6.0))
        for part in (self.classify, self.silence):
            nn.init.zeros_(part.weight)

    def forward(self, notes: Tensor, levels: Tensor, fits: Tensor, dropout: float = 0.0) -> Tensor:
        """notes: [B, T, 3, 88], levels: [B, T, 2], fits: [B, T, S] float32, as `features` makes them.

        Returns logits [B, T, S] of `STATES`: `KINDS` on twelve roots each, then "no chord".
        """
        x = F.gelu(self.enter(folded(notes, levels, fits)))
        for index, block in enumerate(self.blocks):
            if index == ATTENTION:
                x = self.attention(x)
            x = block(x, dropout)
        x = self.norm(x)
        chords = self.classify(x).transpose(1, 2).flatten(2)
        silent = self.silence(torch.cat([x.mean(-1), x.amax(-1)], dim=1).transpose(1, 2))
        return torch.cat([chords, silent], dim=-1) + self.templates * fits


@torch.inference_mode()
def read(beats: Beats) -> np.ndarray:
    """Log-probabilities of `STATES` in each beat: float64 [T, S]."""
    given = (torch.from_numpy(x)[None] for x in features(beats).values())
    with one_thread():  # 10 s of sound take it .01 s
        return network()(*given)[0].log_softmax(-1).double().numpy()


@lru_cache(maxsize=1)
def network() -> ChordNetwork:
    """The network with its weights, loaded once."""
    made = ChordNetwork()
    made.load_state_dict(packaged(WEIGHTS))
    return made.eval()
