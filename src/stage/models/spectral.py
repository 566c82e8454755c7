"""The embedded codec: a spectral encoder, a residual vector quantiser and an inverse-STFT decoder.

Magnitudes of two short-time Fourier transforms (a short window for timing, a long one for the
pitch of low notes) go through ConvNeXt blocks at the frame rate, a residual quantiser (EnCodec,
arXiv 2210.13438, section 3.2) makes the codes, and a Vocos-like head (arXiv 2306.00814, section
3.2) predicts magnitude and phase of the output spectrum. Phases are not encoded: the codes say
what is heard, and cost the language model nothing more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class SpectralConfig:
    """Shape of a ``SpectralCodec``; lengths in samples, widths in channels."""

    sample_rate: int = 32000
    hop: int = 1280
    short_window: int = 1024
    short_bands: int = 96  # mel bands of the short window
    long_window: int = 4096
    long_bins: int = 288  # bins of the long window that are looked at (0 .. 2.25 kHz)
    output_window: int = 1280
    output_hop: int = 320
    width: int = 384
    expansion: int = 3
    encoder_blocks: int = 4
    decoder_blocks: int = 6
    latent: int = 128
    codebooks: int = 8
    codebook_size: int = 1024


def mel_bands(bands: int, window: int, rate: int, low: float = 30.0) -> Tensor:
    """Triangular mel filters (HTK scale) of peak 1 from ``low`` Hz to half the rate: [window/2 + 1, bands]."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    bottom = 2595 * math.log10(1 + low / 700)
    edges = 700 * (10 ** (torch.linspace(bottom, top, bands + 2) / 2595) - 1)
    bins = torch.arange(window // 2 + 1) * rate / window
    # at the low end a band must not fall between two bins
    width = torch.maximum(edges[1:] - edges[:-1], torch.tensor(rate / window))
    rising = (bins[:, None] - (edges[1:-1] - width[:-1])) / width[:-1]
    falling = ((edges[1:-1] + width[1:]) - bins[:, None]) / width[1:]
    return torch.minimum(rising, falling).clamp(min=0)


def _stft(audio: Tensor, window: Tensor, hop: int, frames: int) -> Tensor:
    """audio [B, N] -> complex spectrum [B, window/2 + 1, frames], frame t centred on (t + 1/2) * hop."""
    size = window.shape[0]
    left = (size - hop) // 2
    right = max(0, (frames - 1) * hop + size - left - audio.shape[-1])
    padded = F.pad(audio, (left, right))
    return torch.stft(padded, size, hop, size, window, center=False, return_complex=True)[..., :frames]


class Block(nn.Module):
    """ConvNeXt block in one dimension. x: [B, C, T]."""

    def __init__(self, width: int, expansion: int, scale: float):
        super().__init__()
        self.mix = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.mix(x).transpose(1, 2))
        y = self.down(F.gelu(self.up(y)))
        return x + (self.scale * y).transpose(1, 2)


class Quantizer(nn.Module):
    """Residual vector quantiser with codebooks [K, S, D] kept by moving averages while training."""

    def __init__(self, codebooks: int, size: int, width: int):
        super().__init__()
        self.register_buffer("embed", torch.zeros(codebooks, size, width))

    def encode(self, latent: Tensor) -> Tensor:
        """latent [..., D] float32 -> codes [K, ...] int64."""
        flat = latent.reshape(-1, latent.shape[-1]).float()
        codes = []
        for table in self.embed:
            code = nearest(flat, table)
            flat = flat - table[code]
            codes.append(code.view(latent.shape[:-1]))
        return torch.stack(codes)

    def decode(self, codes: Tensor) -> Tensor:
        """codes [K, ...] -> latent [..., D]."""
        return sum(table[code] for table, code in zip(self.embed, codes))


def nearest(points: Tensor, table: Tensor) -> Tensor:
    """Index of the nearest row of table [S, D] for each of points [M, D]."""
    return (points @ table.T - 0.5 * table.square().sum(-1)).argmax(-1)


class SpectralCodec(nn.Module):
    """See the module's docstring. Implements ``stage.models.codec.Codec``."""

    def __init__(self, config: SpectralConfig = SpectralConfig()):
        super().__init__()
        c = self.config = config
        self.sample_rate, self.hop = c.sample_rate, c.hop
        self.codebooks, self.codebook_size = c.codebooks, c.codebook_size
        # a frame sees 3 frames per block on either side, and the windows that reach over its edge
        self.margin = 3 * max(c.encoder_blocks, c.decoder_blocks) + 8
        self.per_frame = c.hop // c.output_hop
        features = self.per_frame * c.short_bands + c.long_bins
        scale = 1.0 / (c.encoder_blocks + c.decoder_blocks)
        self.enter = nn.Linear(features, c.width)
        self.encoder = nn.Sequential(*(Block(c.width, c.expansion, scale) for _ in range(c.encoder_blocks)))
        self.to_latent = nn.Linear(c.width, c.latent)
        self.quantizer = Quantizer(c.codebooks, c.codebook_size, c.latent)
        self.from_latent = nn.Conv1d(c.latent, c.width, 3, padding=1)
        self.decoder = nn.Sequential(*(Block(c.width, c.expansion, scale) for _ in range(c.decoder_blocks)))
        self.norm = nn.LayerNorm(c.width)
        self.head = nn.Linear(c.width, self.per_frame * 2 * (c.output_window // 2 + 1))
        for name, size in (("short", c.short_window), ("long", c.long_window), ("output", c.output_window)):
            self.register_buffer(f"{name}_hann", torch.hann_window(size), persistent=False)
        self.register_buffer("bands", mel_bands(c.short_bands, c.short_window, c.sample_rate), persistent=False)

    def latent(self, audio: Tensor) -> Tensor:
        """audio [B, N] -> unquantised latent [B, T, D]."""
        c = self.config
        frames = -(-audio.shape[-1] // c.hop)
        short = _stft(audio.float(), self.short_hann, c.output_hop, frames * self.per_frame).abs()
        long = _stft(audio.float(), self.long_hann, c.hop, frames).abs()[:, : c.long_bins]
        short = (short.transpose(1, 2) @ self.bands).reshape(audio.shape[0], frames, -1)
        features = torch.cat([short / 32, long.transpose(1, 2) / 64], dim=-1)
        features = torch.log(features + 1e-4) / 4 + 1  # about -1..1
        x = self.enter(features.to(self.enter.weight.dtype)).transpose(1, 2)
        return self.to_latent(self.encoder(x).transpose(1, 2))

    def spectrum(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latent [B, T, D] -> magnitude and phase [B, F, output_window/2 + 1] float32."""
        x = self.from_latent(latent.to(self.head.weight.dtype).transpose(1, 2))
        x = self.head(self.norm(self.decoder(x).transpose(1, 2))).float()
        x = x.view(x.shape[0], x.shape[1] * self.per_frame, 2, -1)
        return torch.exp(x[:, :, 0].clamp(max=6.0)), x[:, :, 1]

    def waveform(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        """Inverse transform of a spectrum [B, F, bins] -> audio [B, F * output_hop] float32."""
        pieces = torch.fft.irfft(torch.polar(magnitude, phase), n=self.config.output_window) * self.output_hann
        return self._overlap_add(pieces, magnitude.shape[1] * self.config.output_hop)

    def _overlap_add(self, pieces: Tensor, samples: int) -> Tensor:
        """pieces [B, F, window] -> audio [B, samples]; frame f is centred on (f + 1/2) * output_hop."""
        c = self.config
        size, hop, count = c.output_window, c.output_hop, pieces.shape[1]
        length = (count - 1) * hop + size
        audio = F.fold(pieces.transpose(1, 2), (1, length), (1, size), stride=(1, hop))[:, 0, 0]
        window = self.output_hann[:, None].expand(size, count)[None]
        envelope = F.fold(window, (1, length), (1, size), stride=(1, hop))[0, 0, 0]
        left = (size - hop) // 2
        return (audio / envelope.clamp(min=1e-2))[:, left : left + samples]

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        """audio [B, N] float32 -> codes [B, K, ceil(N / hop)] int64."""
        return self.quantizer.encode(self.latent(audio)).transpose(0, 1)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """codes [B, K, T] int64 -> audio [B, T * hop] float32."""
        return self.waveform(*self.spectrum(self.quantizer.decode(codes.transpose(0, 1))))
