"""Small stand-ins: a codec that keeps the waveform, a decoder with drawn weights, a generator that echoes its
context."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import torch

from stage.config import DecoderConfig, EventsConfig, StageConfig
from stage.generation.decoding import Sampling
from stage.models.chord_head import ChordHead
from stage.models.codec import SlidingDecode
from stage.models.decoder import Decoder
from stage.models.events import MANNERS, codecs
from stage.models.features import SIZE
from stage.models.precision import compute_dtype, matrices, replace
from stage.models.spectral import SpectralCodec, SpectralConfig
from stage.models.text import HashedConfig, HashedText
from stage.pipeline import Stage
from stage.prefix import interleave


class PcmCodec:
    """Keeps the waveform: each code is one sample of 10 bits, a frame is 64 of them."""

    sample_rate, hop, codebooks, codebook_size, margin, look_ahead, recurrent = 32000, 64, 64, 1024, 0, 0, False

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        frames = -(-audio.shape[-1] // self.hop)
        padded = torch.nn.functional.pad(audio, (0, frames * self.hop - audio.shape[-1]))
        return ((padded.clamp(-1, 1) + 1) * 511.5).round().long().view(len(audio), frames, self.hop).transpose(1, 2)

    def decode(self, codes: torch.Tensor, start: int = 0) -> torch.Tensor:
        return (codes.transpose(1, 2).flatten(1) / 511.5 - 1).float()

    def stream(self) -> SlidingDecode:
        return SlidingDecode(self)


class EchoDecoder:
    """A decoder that is only called by its own `steps`, and a record of those calls."""

    def __init__(self, contexts: tuple[str, ...]):
        self.config = DecoderConfig(
            dim=16,
            layers=1,
            heads=2,
            ffn_dim=16,
            codebooks=64,
            codebook_size=1024,
            stems=("drums", "bass"),
            contexts=contexts,
        )
        self.device = torch.device("cpu")
        self.calls: list[dict] = []

    def steps(
        self, decoder, *, stem, contexts, text, frames, seeds, prompt=None, sampling=Sampling(), hurry=True, **_
    ) -> Iterator[SimpleNamespace]:
        """Stands for `stage.generation.decoding.steps`: the stem is its last context, after the prompt."""
        self.calls.append(
            {
                "contexts": contexts,
                "frames": frames,
                "seeds": list(seeds),
                "prompt": prompt,
                "sampling": sampling,
                "stem": stem,
            }
        )
        context = next(c for c in reversed(contexts) if c is not None)
        pattern = self.config.pattern
        known = 0 if prompt is None else prompt.shape[1]
        codes = torch.full((len(seeds), 64, frames), 512)
        codes[:, :, : context.shape[1]] = context[:, :frames]
        if known:
            codes[:, :, :known] = prompt
        for step in range(1, 5):
            at = 63 + known + (frames - known) * step // 4
            yield SimpleNamespace(
                columns=interleave(codes, 1024, pattern), at=at, done=step, steps=4, pattern=pattern, target_start=0
            )


def echo_stage(monkeypatch, contexts=("mix",), window_seconds=2.0, grid=False) -> tuple[Stage, EchoDecoder]:
    """A Stage whose model gives back its last context."""
    echo = EchoDecoder(contexts)
    monkeypatch.setattr("stage.generation.windows.steps", echo.steps)
    config = StageConfig(window_seconds=window_seconds, grid=grid)
    return Stage(echo, PcmCodec(), HashedText(HashedConfig(dim=8, buckets=16)), config), echo


def drawn_stage(window_seconds: float = 2.0, positions: str = "rotary") -> Stage:
    """A whole small model with drawn weights: noise, but made in the real way."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = SpectralConfig(width=16, encoder_blocks=1, decoder_blocks=1, latent=8, codebooks=2, codebook_size=32)
        codec = SpectralCodec(shape).eval().requires_grad_(False)
        codec.quantizer.embed.normal_()
        decoder = Decoder(
            DecoderConfig(
                dim=32,
                layers=2,
                heads=2,
                ffn_dim=64,
                codebooks=2,
                codebook_size=32,
                stems=("drums", "bass"),
                contexts=("grid", "mix"),
                text_dim=8,
                positions=positions,
                restart=True,
            )
        )
        text = HashedText(HashedConfig(dim=8, buckets=64)).eval().requires_grad_(False)
    config = StageConfig(name="drawn", window_seconds=window_seconds, grid=True, top_k=20)
    return Stage(decoder.eval().requires_grad_(False), codec, text, config)


def drawn_player(window_beats: int = 8) -> Stage:
    """A whole small model of events with drawn weights."""
    base = drawn_stage()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        known = codecs()
        lanes = max(codec.lanes for codec in known.values())
        decoder = Decoder(
            DecoderConfig(
                dim=32,
                layers=2,
                heads=2,
                ffn_dim=64,
                codebooks=1 + 2 * lanes,
                codebook_size=32,
                context_codebooks=2,
                target_size=MANNERS,
                delays=(0, *(lane + part for lane in range(lanes) for part in (0, 1))),
                features=SIZE,
                stems=tuple(known),
                contexts=("mix",),
                text_dim=8,
                positions="rotary",
                restart=True,
                context_layers=2,
                context_width=8,
            )
        )
        head = ChordHead(32)
    events = EventsConfig(window_beats=window_beats, instruments={s: c.instruments for s, c in known.items()})
    return Stage(
        decoder.eval().requires_grad_(False),
        base.codec,
        base.text,
        StageConfig(name="drawn player", top_k=0),
        events=events,
        chord_head=head.eval().requires_grad_(False),
    )


def song(seconds: float = 3.0, rate: int = 44100, channels: int = 2, bpm: float = 120.0, seed: int = 0) -> np.ndarray:
    """A recording with a beat: noise bursts over a chord. float32 [C, N]."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 1, len(time))
    hits = noise * np.exp(-30 * (time % (60 / bpm)))
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in (220.0, 277.2, 329.6))
    both = 0.15 * hits + 0.05 * chord
    return np.stack([both * (1 - 0.1 * c) for c in range(channels)]).astype(np.float32)


def lower(decoder: Decoder, precision: str) -> Decoder:
    """Pack the decoder's matrices, in place, as loading does."""
    if precision != "float32":
        weights = dict(decoder.named_parameters())
        for parameter, path in matrices(decoder).items():
            replace(decoder, path, weights[parameter].detach(), precision, decoder.device)
    return decoder.to(compute_dtype(precision, decoder.device))
