"""What happens to real recordings: other levels, equalisers, rooms, noise. Mono float32 batches [B, N]."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform draws in low..high."""
    return low + (high - low) * torch.rand(*shape, generator=generator)


def random_eq(audio: Tensor, generator: torch.Generator, max_db: float, rate: int = 32000) -> Tensor:
    """A smooth random frequency response of at most +-max_db, another one for each row."""
    count, size = audio.shape[0], audio.shape[-1]
    points = uniform(generator, -max_db, max_db, count, 1, 8)
    curve = torch.nn.functional.interpolate(points, size=257, mode="linear", align_corners=True)
    # 257 points spread over log-frequency 40 Hz .. 16 kHz
    frequencies = torch.fft.rfftfreq(size, 1 / rate).clamp(min=40)
    place = torch.log2(frequencies / 40) / torch.log2(torch.tensor(rate / 2 / 40)) * 256
    gain = 10 ** (curve[:, 0, place.long().clamp(max=256)] / 20)
    return torch.fft.irfft(torch.fft.rfft(audio) * gain, n=size)


def random_gain(audio: Tensor, generator: torch.Generator, low_db: float, high_db: float) -> Tensor:
    """Another level for each row; rows that would clip are turned down to a peak of 0.99."""
    gain = 10 ** (uniform(generator, low_db, high_db, audio.shape[0], 1) / 20)
    peak = audio.abs().amax(-1, keepdim=True).clamp(min=1e-6)
    return audio * torch.minimum(gain, 0.99 / peak)


def add_noise(audio: Tensor, generator: torch.Generator, low_db: float, high_db: float) -> Tensor:
    """White noise under each row, low_db..high_db relative to full scale."""
    level = 10 ** (uniform(generator, low_db, high_db, audio.shape[0], 1) / 20)
    return audio + level * torch.randn(audio.shape, generator=generator)


def add_room(audio: Tensor, generator: torch.Generator, rate: int = 32000) -> Tensor:
    """A small synthetic room (decaying noise, 0.1..0.6 s), mixed 5..35 % under each row."""
    seconds = float(uniform(generator, 0.1, 0.6, 1))
    size = int(seconds * rate)
    decay = torch.exp(-6.9 * torch.arange(size) / size)
    tail = torch.randn(audio.shape[0], size, generator=generator) * decay
    tail = tail / tail.square().sum(-1, keepdim=True).sqrt()
    length = audio.shape[-1] + size
    wet = torch.fft.irfft(torch.fft.rfft(audio, n=length) * torch.fft.rfft(tail, n=length), n=length)
    return audio + uniform(generator, 0.05, 0.35, audio.shape[0], 1) * wet[:, : audio.shape[-1]]
