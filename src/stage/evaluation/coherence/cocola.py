"""COCOLA (arXiv 2404.16969): the published coherence model, rebuilt to the layout of its checkpoint.

The checkpoint (`COCOLA_HP_v1`, a Lightning file) cannot be downloaded by a program; $STAGE_COCOLA names it. The network
was checked for names, shapes and features (against librosa and `efficientnet_pytorch`), not against the published
weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stage.errors import MissingExtra, StageError
from stage.evaluation.coherence.efficientnet import EfficientNet

RATE, SECONDS = 16000, 5.0
FFT, WINDOW, HOP = 1024, 400, 160
MELS, LOWEST_HZ, HIGHEST_HZ = 64, 60.0, 7800.0
EMBEDDING, DIM = 1280, 512
MODES = ("both", "harmonic", "percussive")
VARIABLE = "STAGE_COCOLA"
TYPES = ("Dataset", "ModelInputType", "ModelFeatureExtractorType", "FeatureExtractionTime", "EmbeddingMode")
"""The authors' enumerations: Lightning may save a setting as one of them beside the weights."""


def features(audio: np.ndarray) -> np.ndarray:
    """Harmonic and percussive mel spectra in dB below their own maximum: float32 [N] at 16 kHz -> [2, 64, T], T = N //
    160 + 1.

    Raises MissingExtra without librosa, whose separation by median filters the model was trained with.
    """
    try:
        import librosa
    except ImportError:
        raise MissingExtra("COCOLA's features", "evaluate") from None
    spectrum = librosa.stft(np.asarray(audio, np.float32), n_fft=FFT, win_length=WINDOW, hop_length=HOP)
    bank = librosa.filters.mel(sr=RATE, n_fft=FFT, n_mels=MELS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ)
    parts = librosa.decompose.hpss(spectrum)
    return np.stack([librosa.power_to_db(bank @ np.square(np.abs(part)), ref=np.max) for part in parts]).astype(
        np.float32
    )


class Cocola(nn.Module):
    """score(x, y) = h(x)' W h(y), h(x) = tanh(norm(projection(encoder(x))))."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = EfficientNet(2)
        self.projection = nn.Linear(EMBEDDING, DIM)
        self.norm = nn.LayerNorm(DIM)
        self.w = nn.Parameter(torch.zeros(DIM, DIM))

    def embed(self, features: Tensor) -> Tensor:
        """`features` [B, 2, 64, T] -> [B, 512]."""
        return torch.tanh(self.norm(self.projection(self.encoder(features).flatten(1))))

    def forward(self, stem: Tensor, context: Tensor) -> Tensor:
        """Scores [B] of pairs of features."""
        return ((self.embed(stem) @ self.w) * self.embed(context)).sum(-1)


def names() -> dict[str, str]:
    """Our names -> the checkpoint's."""
    theirs = {}
    for name in Cocola().state_dict():
        if name.startswith("encoder."):
            theirs[name] = f"encoder.encoder.model.0.{name.removeprefix('encoder.')}"
        elif name.startswith("projection."):
            theirs[name] = f"encoder.{name}"
        else:
            theirs[name] = {"w": "similarity.w", "norm.weight": "layer_norm.weight", "norm.bias": "layer_norm.bias"}[
                name
            ]
    return theirs


def read(path: Path) -> dict[str, Tensor]:
    """Tensors of a Lightning checkpoint or a safetensors file; no code of the file runs. Raises StageError where it
    cannot be read."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # plain strings stand in for the authors' enumerations, so that nothing of theirs is imported or run
        enumerations = [type(name, (str,), {"__module__": "contrastive_model.constants"}) for name in TYPES]
        with torch.serialization.safe_globals(enumerations):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StageError(f"there is no COCOLA checkpoint at {path}") from None
    except Exception as error:  # torch and safetensors raise many kinds for damaged files
        why = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise StageError(f"{path} cannot be read as a checkpoint: {why}") from None
    found = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise StageError(f"{path} holds no state dict")
    return dict(found)


@cache
def load(path: Path, device: str = "cpu") -> Cocola:
    """The model of a checkpoint. Raises StageError that names what is missing or has another shape."""
    weights, model, table = read(path), Cocola(), names()
    # counters of batches do not matter, and a layer norm may stand beside the projection
    aliases = {"layer_norm.weight": "encoder.layer_norm.weight", "layer_norm.bias": "encoder.layer_norm.bias"}
    state, missing, misshapen = {}, [], []
    for ours, theirs in table.items():
        value = weights.get(theirs, weights.get(aliases.get(theirs, theirs)))
        if value is None:
            if not ours.endswith("num_batches_tracked"):
                missing.append(theirs)
        elif value.shape != model.state_dict()[ours].shape:
            misshapen.append(f"{theirs} {list(value.shape)}")
        else:
            state[ours] = value
    if missing or misshapen:
        what, which = ("lacks", missing) if missing else ("has other shapes:", misshapen)
        more = " ..." if len(which) > 3 else ""
        raise StageError(f"{path} is not a COCOLA checkpoint: it {what} {', '.join(which[:3])}{more}")
    model.load_state_dict(state, strict=False)
    return model.eval().to(device)


@torch.inference_mode()
def score(
    stem: np.ndarray, context: np.ndarray, rate: int, model: Cocola, mode: str = "both", device: str = "cpu"
) -> float:
    """COCOLA score of a stem and its context, float32 [N] at `rate` Hz: the mean over windows of 5 s.

    Raises StageError for less than one window.
    """
    from stage.audio.files import resample

    if mode not in MODES:
        raise StageError(f'COCOLA compares {", ".join(MODES)}, not "{mode}"')
    pair = [resample(np.asarray(part, np.float32), rate, RATE) for part in (stem, context)]
    size, length = round(SECONDS * RATE), min(len(part) for part in pair)
    if length < size:
        raise StageError(f"COCOLA needs {SECONDS:g} seconds of stem and context, not {length / RATE:.1f}")
    pictures = [
        torch.from_numpy(
            np.stack([features(part[first : first + size]) for first in range(0, length - size + 1, size)])
        )
        for part in pair
    ]
    if mode != "both":
        for part in pictures:
            part[:, 1 - ("harmonic", "percussive").index(mode)] = 0
    return float(model(*(part.to(device) for part in pictures)).mean())


def place() -> Path | None:
    """The checkpoint that $STAGE_COCOLA names; None where it is not set."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else None
