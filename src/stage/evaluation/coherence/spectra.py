"""Features of the offline scorer, every 20 ms: mel bands of a short window for timing, semitone bands of a long window
for pitch."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from stage.audio import filters

RATE, HOP = 16000, 320
MELS, KEYS = 40, 72
LOWEST_KEY = 28
"""MIDI number of the lowest semitone band, E1: a bass guitar's lowest string."""
SHORT, LONG = 512, 4096
BANDS = MELS + KEYS
FLOOR = 1e-7


@cache
def _banks() -> tuple[Tensor, Tensor]:
    """Triangular filters [bins, MELS] on HTK's mel scale from 40 to 7800 Hz, and [bins, KEYS] of a semitone each; the
    weights of each filter add up to 1."""

    def normalised(edges: np.ndarray, size: int) -> np.ndarray:
        bank = filters.triangles(edges, filters.bin_hz(size, RATE))
        return (bank / np.maximum(bank.sum(0), 1e-9)).astype(np.float32)

    mels = normalised(filters.mel_edges(MELS, 40.0, 7800.0), SHORT)
    hz = filters.note_hz(LOWEST_KEY - 1 + np.arange(KEYS + 2))
    # low semitones are narrower than a bin: such a band takes the nearest one
    keys = filters.fill_empty(normalised(hz, LONG), filters.bin_hz(LONG, RATE), hz[1:-1])
    return torch.from_numpy(mels), torch.from_numpy(keys)


def bands(audio: Tensor) -> Tensor:
    """Power in each band: audio float32 [..., N] at 16 kHz -> [..., N // 320 + 1, 112].

    Powers of stems add up to those of their mix, nearly.
    """
    flat = audio.reshape(-1, audio.shape[-1])
    parts = []
    for size, bank in zip((SHORT, LONG), _banks()):
        window = torch.hann_window(size, device=audio.device)
        spectrum = (
            torch.stft(flat, size, HOP, window=window, return_complex=True, center=True, pad_mode="constant")
            .abs()
            .square()
        )
        parts.append(spectrum.transpose(1, 2) @ bank.to(audio.device) / window.square().sum())
    return torch.cat(parts, -1).reshape(*audio.shape[:-1], -1, BANDS)


def levels(power: Tensor) -> Tensor:
    """Decibels relative to the loudest band of each item [..., T, 112], 60 dB deep, scaled to about -1 .. 1."""
    decibels = 10 * torch.log10(power + FLOOR * power.amax((-2, -1), keepdim=True).clamp(min=1e-9))
    top = decibels.amax((-2, -1), keepdim=True)
    return ((decibels - top).clamp(min=-60) + 30) / 30


def transpose(power: Tensor, semitones: int) -> Tensor:
    """The semitone bands moved up, the mel bands as they are: nearly the features of the transposed sound."""
    if not semitones:
        return power
    keys = torch.roll(power[..., MELS:], semitones, -1)
    if semitones > 0:
        keys[..., :semitones] = 0
    else:
        keys[..., semitones:] = 0
    return torch.cat([power[..., :MELS], keys], -1)
