"""The beat networks: features of audio in, probabilities of beats and downbeats out.

Three networks of one architecture, trained by BeatNet's authors on different parts of their data; their mean finds
more beats than any of them. Architecture and features of BeatNet (Heydari, Cwitkowitz, Duan: "BeatNet: CRNN and
particle filtering for online joint beat, downbeat and meter tracking", ISMIR 2021), written from the paper and the
shapes of its published weights. Those are in `stage/weights/beatnet.safetensors`, their licence (CC BY 4.0) beside
them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stage.audio import filters
from stage.errors import StageError
from stage.threads import one_thread

WEIGHTS = Path(__file__).parents[1] / "weights" / "beatnet.safetensors"

RATE = 22050
HOP = 441
WINDOW = 1411
FRAME_RATE = RATE / HOP

BANDS_PER_OCTAVE = 24
LOWEST_HZ, HIGHEST_HZ, REFERENCE_HZ = 30.0, 17000.0, 440.0
BANDS = 136

NETWORKS = 3
WARM_UP = 500
"""Frames from the beginning that the networks are given once more in front, so that their state is warm."""


class BeatNetwork(nn.Module):
    """A convolution over the bands of one frame, then two recurrent layers over the frames; 0.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.bands = nn.Conv1d(1, 2, kernel_size=10)
        self.project = nn.Linear(2 * ((2 * BANDS - 9) // 2), 150)
        self.memory = nn.LSTM(150, 150, num_layers=2, batch_first=True)
        self.classify = nn.Linear(150, 3)

    def forward(self, features: Tensor) -> Tensor:
        """features: [B, T, 272] float32. Returns logits [B, T, 3]: beat that is not a downbeat, downbeat, neither."""
        # In pieces: the convolution works on each frame alone, and takes 12 kB for one.
        frames = torch.cat([self._look(part) for part in features.flatten(0, 1).split(2048)])
        return self.classify(self.memory(frames.view(*features.shape[:2], -1))[0])

    def _look(self, frames: Tensor) -> Tensor:
        """frames [T, 272] -> input of the recurrent layers [T, 150]."""
        seen = nn.functional.max_pool1d(self.bands(frames[:, None]).relu(), 2)
        return self.project(seen.flatten(1))


@torch.inference_mode()
def published(spectra: np.ndarray) -> np.ndarray:
    """The mean of the networks' probabilities.

    spectra: what `features` returned. Returns float64 [T, 2] at 50 frames/s, the probability of a beat that is not a
    downbeat and of a downbeat. The networks run forward only, so the first seconds are given to them twice: by the
    second time their state holds the tempo.
    """
    repeated = torch.from_numpy(np.concatenate([spectra[:WARM_UP], spectra]))[None]
    with one_thread():  # 50 frames a second, one after the other: nothing to share
        found = [network(repeated)[0, -len(spectra) :].softmax(-1)[:, :2] for network in beat_networks()]
    return torch.stack(found).double().mean(dim=0).numpy()


def packaged(path: Path) -> dict[str, Tensor]:
    """Weights that come with the package, in float32. Raises StageError where they are missing."""
    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except FileNotFoundError:
        raise StageError(f"weights of the package are missing ({path}): install the package again") from None


@lru_cache(maxsize=1)
def beat_networks() -> tuple[BeatNetwork, ...]:
    """The networks with their weights, loaded once."""
    weights = packaged(WEIGHTS)
    networks = []
    for index in range(NETWORKS):
        prefix = f"{index}."
        network = BeatNetwork()
        network.load_state_dict(
            {name[len(prefix) :]: tensor for name, tensor in weights.items() if name.startswith(prefix)}
        )
        networks.append(network.eval())
    return tuple(networks)


def features(audio: np.ndarray) -> np.ndarray:
    """What the network reads: float32 [ceil(N / 441), 272].

    Hann windows of 64 ms around every 20 ms, magnitudes in 136 triangular bands (24 an octave, each of
    area 1), log10(1 + x); beside them the rise of each band since the frame before.
    """
    frames = -(-len(audio) // HOP)
    half = WINDOW // 2
    padded = np.pad(audio.astype(np.float32), (half, WINDOW + HOP))
    cut = filters.frames(padded, WINDOW, HOP, frames)
    window = np.hanning(WINDOW).astype(np.float32)
    bank = filterbank()
    bands = np.empty((frames, BANDS), np.float32)
    # In pieces: an hour of audio would need gigabytes at once.
    for start in range(0, frames, 4096):
        part = np.fft.rfft(cut[start : start + 4096] * window)[:, : len(bank)]
        bands[start : start + 4096] = np.log10(1 + np.abs(part).astype(np.float32) @ bank)
    rise = np.maximum(np.diff(bands, axis=0, prepend=bands[:1]), 0)
    return np.concatenate([bands, rise], axis=1)


@lru_cache(maxsize=1)
def filterbank() -> np.ndarray:
    """float32 [705, 136]: triangular bands from 30 Hz to 17 kHz, limited to frequencies that have a bin."""
    bins = WINDOW // 2
    spacing = RATE / 2 / bins
    lowest = np.ceil(np.log2(LOWEST_HZ / REFERENCE_HZ) * BANDS_PER_OCTAVE)
    highest = np.floor(np.log2(HIGHEST_HZ / REFERENCE_HZ) * BANDS_PER_OCTAVE)
    corners = REFERENCE_HZ * 2 ** (np.arange(lowest, highest + 1) / BANDS_PER_OCTAVE)
    corners = np.unique(np.clip(np.round(corners / spacing), 1, bins - 1).astype(int))
    bank = filters.triangles(corners, np.arange(bins)).astype(np.float32)
    return bank / bank.sum(axis=0)
