"""Embeddings of audio by name, for FAD and KAD. musicnn is always here; the others where the user has their weights.

| name | needs |
| --- | --- |
| musicnn | nothing: its weights are in the package |
| codec | nothing: the latents of the embedded model's codec |
| encodec | `facebook/encodec_32khz` or another in the hub's cache, or a folder in $STAGE_ENCODEC |
| clap | `laion/clap-htsat-unfused` in the hub's cache, or a folder in $STAGE_CLAP |
| vggish, panns | a TorchScript file (.pt) in $STAGE_VGGISH, $STAGE_PANNS that takes float32 [1, N] at 16 and 32 kHz and returns [windows, D] |
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from stage.audio.files import resample
from stage.errors import StageError

Embed = Callable[[np.ndarray, int], np.ndarray]
"""(audio float32 [N], rate in Hz) -> float32 [windows, D]."""
WINDOW_SECONDS = 3.0


def _musicnn() -> Embed:
    from stage.evaluation.embeddings.musicnn import embed

    return embed


def _codec() -> Embed:
    import torch

    from stage.checkpoints.format import load

    codec = load("embedded", "cpu", "float32", None)[2]

    @torch.inference_mode()
    def embed(audio: np.ndarray, rate: int) -> np.ndarray:
        heard = torch.from_numpy(resample(audio, rate, codec.sample_rate))[None]
        latents = codec.quantizer.decode(codec.encode(heard))[0].T.float().numpy()
        return _windows(latents, len(audio) / rate)

    return embed


def _encodec() -> Embed:
    import torch
    from transformers import EncodecModel

    model = _from_hub(EncodecModel, "STAGE_ENCODEC", "facebook/encodec_32khz").eval()

    @torch.inference_mode()
    def embed(audio: np.ndarray, rate: int) -> np.ndarray:
        heard = torch.from_numpy(resample(audio, rate, model.config.sampling_rate))[None, None]
        return _windows(model.encoder(heard)[0].T.numpy(), len(audio) / rate)

    return embed


def _clap() -> Embed:
    from stage.evaluation.embeddings.clap import load

    return load().audio


def _script(variable: str, rate_wanted: int) -> Callable[[], Embed]:
    def make() -> Embed:
        import torch

        model = torch.jit.load(_named(variable), map_location="cpu").eval()

        @torch.inference_mode()
        def embed(audio: np.ndarray, rate: int) -> np.ndarray:
            return (
                model(torch.from_numpy(resample(audio, rate, rate_wanted))[None])
                .reshape(-1, model(torch.zeros(1, 3 * rate_wanted)).shape[-1])
                .numpy()
            )

        return embed

    return make


MAKERS: dict[str, Callable[[], Embed]] = {
    "musicnn": _musicnn,
    "codec": _codec,
    "encodec": _encodec,
    "clap": _clap,
    "vggish": _script("STAGE_VGGISH", 16000),
    "panns": _script("STAGE_PANNS", 32000),
}
ALWAYS = ("musicnn", "codec")


@cache
def load(name: str) -> Embed:
    """An embedding by its name. Raises StageError for one that is unknown, or whose weights are not here."""
    if name not in MAKERS:
        raise StageError(f'there is no embedding "{name}": choose {", ".join(MAKERS)}')
    try:
        return MAKERS[name]()
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        raise StageError(
            f"the weights of {name} are not here ({str(error).splitlines()[0][:120]}); docs/evaluation.md tells where"
            " they belong"
        ) from None


def _windows(latents: np.ndarray, seconds: float) -> np.ndarray:
    """Mean and spread of latents [T, D] in each three seconds: [windows, 2 D]."""
    parts = np.array_split(latents, max(1, round(seconds / WINDOW_SECONDS)))
    return np.stack([np.concatenate([part.mean(0), part.std(0)]) for part in parts]).astype(np.float32)


def _named(variable: str) -> str:
    if not (path := os.environ.get(variable)) or not Path(path).exists():
        raise StageError(f"set {variable} to the file or folder with the weights")
    return path


def _from_hub(model, variable: str, name: str):
    """A transformers model from a folder that the user names, else from the hub's cache; nothing is downloaded."""
    if os.environ.get(variable):
        return model.from_pretrained(_named(variable))
    return model.from_pretrained(name, local_files_only=True)
