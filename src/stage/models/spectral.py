"""The codec of the sketch model: a spectral encoder, a residual vector quantiser, and a decoder of tones and noise.

Two views of the sound go through ConvNeXt blocks at the frame rate: mel bands of a short window for timing, and how
loud each key of the piano sounds, from a long window whose bins are put where their phase moves (reassignment: Auger,
Flandrin 1995). A residual quantiser (EnCodec, arXiv 2210.13438, section 3.2) makes the codes. Phases are not encoded,
so that the language model need not predict them. The decoder does without: it predicts loudnesses only, of one
oscillator for each key, whose phase never starts anew, and of shaped noise (spectral
modelling, Serra and Smith 1990; as a differentiable decoder, DDSP, arXiv 2001.04643). The keys also have a
linear path through the latent, so that pitch is there from the first step of training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.audio import filters
from stage.models.codec import SlidingDecode
from stage.threads import one_thread
from stage.typed import check_range


@dataclass(frozen=True)
class SpectralConfig:
    """Shape of a ``SpectralCodec``; lengths in samples, widths in channels."""

    sample_rate: int = 32000
    hop: int = 1280
    short_window: int = 1024
    short_bands: int = 96  # mel bands of the short window
    long_window: int = 4096
    output_hop: int = 320  # loudnesses are predicted every 10 ms
    lowest_key: int = 21  # MIDI number of the first oscillator, A0
    keys: int = 88
    noise_period: int = 1024  # output hops after which the noise repeats
    width: int = 384
    expansion: int = 3
    encoder_blocks: int = 4
    decoder_blocks: int = 6
    latent: int = 128
    codebooks: int = 8
    codebook_size: int = 1024

    def __post_init__(self) -> None:
        check_range(self, sample_rate=(4000, 384_000), hop=(1, 65536), output_hop=(1, 8192), noise_period=(1, 65536))
        check_range(self, short_window=(2, 65536), long_window=(2, 65536), short_bands=(1, 1024))
        check_range(self, lowest_key=(0, 127), keys=(1, 128), width=(1, 16384), expansion=(1, 64), latent=(1, 16384))
        check_range(self, encoder_blocks=(0, 64), decoder_blocks=(0, 64), codebooks=(1, 64), codebook_size=(1, 65536))
        if self.hop % self.output_hop:
            raise ValueError(f"hop {self.hop} is not a multiple of output_hop {self.output_hop}")
        if self.short_window < self.output_hop or self.long_window < self.hop:
            raise ValueError("a window is shorter than the hop that it moves by")
        if self.noise_period * self.output_hop > 1 << 25:
            raise ValueError(f"noise of {self.noise_period} x {self.output_hop} samples is too long")


QUIET = 3e-4
"""Amplitude, relative to full scale, below which a key's loudness is linear and no longer logarithmic."""


def mel_bands(bands: int, window: int, rate: int, low: float = 30.0) -> Tensor:
    """Triangular mel filters (HTK scale) of peak 1 from ``low`` Hz to half the rate: [window/2 + 1, bands]."""
    edges, bins = filters.mel_edges(bands, low, rate / 2, torch), filters.bin_hz(window, rate, torch)
    # at the low end a band must not fall between two bins
    return filters.triangles(edges, bins, rate / window, torch)


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
        # a frame depends on 3 frames per block on either side, and the windows that reach over its edge
        self.margin = 3 * max(c.encoder_blocks, c.decoder_blocks) + 8
        # decoding: 3 frames a block, 1 of the convolution before, 1 whose window reaches over the edge; 0.8 s as
        # shipped
        self.look_ahead, self.recurrent = 3 * c.decoder_blocks + 2, False
        self.per_frame = c.hop // c.output_hop
        features = self.per_frame * c.short_bands + c.keys
        scale = 1.0 / (c.encoder_blocks + c.decoder_blocks)
        self.enter = nn.Linear(features, c.width)
        self.encoder = nn.Sequential(*(Block(c.width, c.expansion, scale) for _ in range(c.encoder_blocks)))
        self.to_latent = nn.Linear(c.width, c.latent)
        # the keys' linear path through the latent: in, and out again
        self.keys_in, self.keys_out = nn.Linear(c.keys, c.latent, bias=False), nn.Linear(c.latent, c.keys, bias=False)
        nn.init.orthogonal_(self.keys_in.weight)
        self.quantizer = Quantizer(c.codebooks, c.codebook_size, c.latent)
        self.from_latent = nn.Conv1d(c.latent, c.width, 3, padding=1)
        self.decoder = nn.Sequential(*(Block(c.width, c.expansion, scale) for _ in range(c.decoder_blocks)))
        self.norm = nn.LayerNorm(c.width)
        size = 2 * c.output_hop  # output windows overlap by half
        self.head = nn.Linear(c.width, self.per_frame * (c.keys + c.output_hop + 1))
        if self.head.weight.is_meta:  # only described: names and shapes of what is stored, as far as here
            return
        with torch.no_grad():
            # everything else starts in the directions that the keys leave free
            straight = self.keys_in.weight @ self.keys_in.weight.T
            for part in (self.to_latent.weight, self.to_latent.bias):
                part.sub_(straight @ part)
            self.keys_out.weight.copy_(4 * self.keys_in.weight.T)
            self.head.weight.mul_(0.3)
            self.head.bias.fill_(-4.7)
            for part in (self.head.weight, self.head.bias):  # at first tones come by the linear path alone
                part.unflatten(0, (self.per_frame, -1))[:, : c.keys] = 0
        for name, length in (("short", c.short_window), ("long", c.long_window)):
            self.register_buffer(f"{name}_hann", torch.hann_window(length), persistent=False)
        steps = torch.arange(c.long_window)
        slope = math.pi / c.long_window * torch.sin(2 * math.pi * steps / c.long_window)
        self.register_buffer("long_slope", slope, persistent=False)  # derivative of the window, for a sample
        self.register_buffer("bands", mel_bands(c.short_bands, c.short_window, c.sample_rate), persistent=False)
        # an output window of each oscillator, and what turns it to its phase at the window's start
        keys = c.lowest_key + torch.arange(c.keys, dtype=torch.float64)
        self.cycles = 440 / c.sample_rate * 2 ** ((keys - 69) / 12)  # a sample; float64 for long times
        angle = 2 * math.pi * self.cycles[:, None] * torch.arange(size)
        tones = torch.stack([angle.cos(), angle.sin()]) * torch.hann_window(size, dtype=torch.float64)
        self.register_buffer("tones", tones.flatten(0, 1).float(), persistent=False)
        turns = torch.rand(c.noise_period, c.output_hop + 1, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", torch.polar(torch.ones_like(turns), 2 * math.pi * turns), persistent=False)
        # a sine window: its squares add up to one, so the noise is equally loud everywhere
        self.register_buffer("sine", torch.hann_window(size).sqrt(), persistent=False)

    def keys(self, audio: Tensor, frames: int) -> Tensor:
        """How loud each key sounds in audio [B, N]: amplitudes relative to full scale [B, frames, keys].

        Each bin's energy goes to the key of its instantaneous frequency, so that a low tone, which fills bins
        of several semitones, is one key all the same.
        """
        c = self.config
        bins = math.ceil(440 * 2 ** ((c.lowest_key + c.keys - 69) / 12) * c.long_window / c.sample_rate)
        plain, sloped = (_stft(audio, window, c.hop, frames)[:, :bins] for window in (self.long_hann, self.long_slope))
        energy = plain.abs().square()
        centre = torch.arange(bins, device=audio.device)[:, None]
        moved = -(sloped * plain.conj()).imag / energy.clamp(min=1e-12) * c.long_window / (2 * math.pi)
        frequency = (centre + moved).clamp(min=0.1) * c.sample_rate / c.long_window
        key = (69 + 12 * torch.log2(frequency / 440)).round().long() - c.lowest_key
        # what lies far from its bin is a side lobe or noise
        energy = torch.where((moved.abs() < 1.6) & (key >= 0) & (key < c.keys), energy, 0.0)
        found = energy.new_zeros(audio.shape[0], c.keys, frames).scatter_add_(1, key.clamp(0, c.keys - 1), energy)
        # a tone of amplitude 1 has 3/32 of the squared window length in its main lobe
        return (found / (3 / 32 * c.long_window**2)).sqrt().transpose(1, 2)

    def latent(self, audio: Tensor) -> Tensor:
        """audio [B, N] -> unquantised latent [B, T, D]."""
        c, audio = self.config, audio.float()
        frames = -(-audio.shape[-1] // c.hop)
        short = _stft(audio, self.short_hann, c.output_hop, frames * self.per_frame).abs()
        short = (short.transpose(1, 2) @ self.bands).reshape(audio.shape[0], frames, -1)
        short = torch.log(short / 32 + 1e-4) / 4 + 1
        keys = torch.log1p(self.keys(audio, frames) / QUIET) / 4
        x = self.enter(torch.cat([short, keys], dim=-1)).transpose(1, 2)
        return self.to_latent(self.encoder(x).transpose(1, 2)) + self.keys_in(keys)

    def loudness(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latent [B, T, D] -> amplitudes of tones [B, F, keys] and noise [B, F, output_hop + 1].

        F = T * hop / output_hop; float32, tones relative to full scale.
        """
        latent = latent.to(self.head.weight.dtype)
        x = self.from_latent(latent.transpose(1, 2))
        x = self.head(self.norm(self.decoder(x).transpose(1, 2))).unflatten(-1, (self.per_frame, -1)).float()
        tones, noise = x.split([self.config.keys, self.config.output_hop + 1], dim=-1)
        tones = (tones + self.keys_out(latent).float()[:, :, None]).flatten(1, 2).clamp(max=9.0)
        # log1p and back; a soft floor keeps a gradient where a tone is silent
        return QUIET * torch.expm1(F.softplus(tones, beta=4)), torch.exp(noise.flatten(1, 2).clamp(max=6.0))

    def waveform(self, tones: Tensor, noise: Tensor, start: int = 0) -> Tensor:
        """Sound of loudnesses [B, F, ...] -> audio [B, F * output_hop] float32.

        start: output hops before the first, so that parts of one sound fit together.
        """
        c, count = self.config, tones.shape[1]
        places = start + torch.arange(count)
        phase = (self.cycles * c.output_hop * places[:, None].double()) % 1
        # phases at time zero: the golden ratio spreads them, so that tones do not peak together
        phase = phase + torch.arange(c.keys) * 0.618034
        angle = (2 * math.pi * phase).float().to(tones.device)
        pieces = torch.cat([tones * angle.sin(), tones * angle.cos()], dim=-1) @ self.tones
        excited = self.noise[places.to(noise.device) % c.noise_period] * (0.05 * noise)
        pieces = pieces + torch.fft.irfft(excited, n=2 * c.output_hop, norm="ortho") * self.sine
        # window f covers hops f - 1/2 .. f + 3/2: half a hop is cut off on either side
        halves = pieces.unflatten(-1, (2, c.output_hop))
        audio = F.pad(halves[:, :, 0], (0, 0, 0, 1)) + F.pad(halves[:, :, 1], (0, 0, 1, 0))
        half = c.output_hop // 2
        return audio.flatten(1)[:, half : half + count * c.output_hop]

    @torch.inference_mode()
    def encode(self, audio: Tensor) -> Tensor:
        """audio [B, N] float32 -> codes [B, K, ceil(N / hop)] int64."""
        with one_thread():  # 10 s of sound take it .1 s
            return self.quantizer.encode(self.latent(audio)).transpose(0, 1)

    @torch.inference_mode()
    def decode(self, codes: Tensor, start: int = 0) -> Tensor:
        """codes [B, K, T] int64, from frame ``start`` of the sound -> audio [B, T * hop] float32."""
        with one_thread():  # 10 s of sound take it .06 s
            loudness = self.loudness(self.quantizer.decode(codes.transpose(0, 1)))
            return self.waveform(*loudness, start * self.per_frame)

    def stream(self) -> SlidingDecode:
        """See ``stage.models.codec.Codec``."""
        return SlidingDecode(self)
