"""Small songs on the disk, and small bases with drawn weights, for the tests of fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from stage.config import DecoderConfig, StageConfig
from stage.models.decoder import Decoder
from stage.models.spectral import SpectralCodec, SpectralConfig
from stage.models.text import HashedConfig, HashedText
from stage.pipeline import Stage

RATE = 32000


def write_songs(root: Path, train: int = 4, held: int = 2, seconds: float = 5.0) -> Path:
    """Songs in our corpus' layout: noise on the beat, a low tone, a high one."""
    for split, first, count in (("train", 0, train), ("heldout", 50, held)):
        for i in range(first, first + count):
            folder = root / split / f"{split}-{i:02d}"
            folder.mkdir(parents=True)
            rng, time = np.random.default_rng(i), np.arange(round(seconds * RATE)) / RATE
            beats = [round(0.1 + 0.5 * n, 3) for n in range(int(2 * seconds) - 1)]
            hits = sum(np.exp(-30 * np.maximum(time - b, 0)) * (time >= b) for b in beats)
            stems = {"drums": 0.2 * hits * rng.standard_normal(len(time)), "bass": 0.2 * np.sin(2 * np.pi * (60 + 10 * i) * time),
                     "keys": 0.1 * np.sin(2 * np.pi * (300 + 50 * i) * time)}
            for name, audio in stems.items():
                soundfile.write(folder / f"{name}.flac", audio, RATE, subtype="PCM_16")
            (folder / "song.json").write_text(json.dumps({
                "id": folder.name, "rate": RATE, "samples": len(time), "stems": {n: {} for n in stems}, "beats": beats, "bpm": 120,
                "downbeat_numbers": [n % 4 + 1 for n in range(len(beats))], "genre": "rock", "moods": ["calm"], "captions": ["a calm song"],
                "chords": [{"start": 0.0, "end": seconds, "name": "C", "root": 0, "pitch_classes": [0, 4, 7]}], "key": "C major",
                "stem_captions": {"drums": ["plain drums"], "bass": ["low bass"]}, "density": {n: 0.5 for n in stems},
            }))  # fmt: skip
    return root


def small_base(stems: tuple[str, ...] = ("drums",), contexts: tuple[str, ...] = ("mix",)) -> Stage:
    """A model as the paper's, but tiny: sinusoids that go on, one kind of context. Without stems it is MusicGen itself."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = SpectralCodec(SpectralConfig(width=16, encoder_blocks=1, decoder_blocks=1, latent=8, codebooks=2, codebook_size=32))
        codec.quantizer.embed.normal_()
        shape = DecoderConfig(dim=32, layers=2, heads=2, ffn_dim=64, codebooks=2, codebook_size=32, stems=stems, contexts=contexts, text_dim=8)
        decoder, text = Decoder(shape), HashedText(HashedConfig(dim=8, buckets=64))
    return Stage(decoder.eval(), codec.eval().requires_grad_(False), text.eval().requires_grad_(False),
                 StageConfig(name="small", licence="CC-BY-NC-4.0", window_seconds=2.0, top_k=20))  # fmt: skip
