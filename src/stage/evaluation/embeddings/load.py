"""Embeddings of audio by name, for FAD and KAD. musicnn and codec are always here, the others where their weights are.

musicnn         nothing to bring: its weights are in the package
codec           nothing to bring: the latents of the sketch model's codec
encodec         `facebook/encodec_32khz` in the hub's cache, or a folder in $STAGE_ENCODEC
clap            `laion/clap-htsat-unfused` in the hub's cache, or a folder in $STAGE_CLAP
vggish, panns   a TorchScript file in $STAGE_VGGISH, $STAGE_PANNS that takes float32 [1, N] at 16 or 32 kHz and returns
                [windows, D]. TorchScript is code: it runs with the rights of the user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from stage import fingerprint
from stage.audio.files import resample
from stage.checkpoints.installed import find
from stage.errors import StageError
from stage.evaluation.embeddings import clap, musicnn
from stage.evaluation.embeddings.hub import Place, first_line, named

Embed = Callable[[np.ndarray, int], np.ndarray]
"""(audio float32 [N], rate in Hz) -> float32 [windows, D]."""
WINDOW_SECONDS = 3.0
ENCODEC = Place("STAGE_ENCODEC", "facebook/encodec_32khz")


def _codec() -> Embed:
    import torch

    from stage.checkpoints.format import load

    codec = load("sketch", "cpu", "float32", None)[2]

    @torch.inference_mode()
    def embed(audio: np.ndarray, rate: int) -> np.ndarray:
        inputs = torch.from_numpy(resample(audio, rate, codec.sample_rate))[None]
        latents = codec.quantizer.decode(codec.encode(inputs))[0].T.float().numpy()
        return _windows(latents, len(audio) / rate)

    return embed


def _encodec() -> Embed:
    import torch
    from transformers import EncodecModel

    model = ENCODEC.load(EncodecModel, use_safetensors=True).eval()

    @torch.inference_mode()
    def embed(audio: np.ndarray, rate: int) -> np.ndarray:
        inputs = torch.from_numpy(resample(audio, rate, model.config.sampling_rate))[None, None]
        return _windows(model.encoder(inputs)[0].T.numpy(), len(audio) / rate)

    return embed


def _script(variable: str, rate_wanted: int) -> Embed:
    import torch

    path = named(variable)
    model = torch.jit.load(str(path), map_location="cpu").eval()

    @torch.inference_mode()
    def embed(audio: np.ndarray, rate: int) -> np.ndarray:
        try:
            made = model(torch.from_numpy(resample(audio, rate, rate_wanted))[None])
            return made.reshape(-1, model(torch.zeros(1, 3 * rate_wanted)).shape[-1]).float().numpy()
        except Exception as error:  # whatever the network raises
            raise StageError(f"the network in {path} failed: {first_line(error)}") from None

    return embed


@dataclass(frozen=True)
class Kind:
    """make: the embedding. identity: of its weights."""

    make: Callable[[], Embed]
    identity: Callable[[], str]


KINDS: dict[str, Kind] = {
    "musicnn": Kind(lambda: musicnn.embed, lambda: fingerprint.of_files(musicnn.WEIGHTS)),
    "codec": Kind(_codec, lambda: fingerprint.of_files(find("sketch") / "codec.safetensors")),
    "encodec": Kind(_encodec, ENCODEC.identity),
    "clap": Kind(lambda: clap.load().audio, clap.identity),
    "vggish": Kind(partial(_script, "STAGE_VGGISH", 16000), lambda: fingerprint.of_files(named("STAGE_VGGISH"))),
    "panns": Kind(partial(_script, "STAGE_PANNS", 32000), lambda: fingerprint.of_files(named("STAGE_PANNS"))),
}
ALWAYS = ("musicnn", "codec")


@cache
def load(name: str) -> Embed:
    """An embedding by its name. Raises StageError for one that is unknown, or whose weights are not here."""
    if name not in KINDS:
        raise StageError(f'"{name}" is not an embedding: choose {", ".join(KINDS)}')
    try:
        return KINDS[name].make()
    except Exception as error:  # torch and transformers raise many kinds for files that they cannot use
        raise StageError(
            f"the weights of {name} are not here ({first_line(error)}); docs/evaluation.md has the places for them"
        ) from None


def identity(name: str) -> str:
    """Fingerprint of the weights of an embedding that `load` gives."""
    return KINDS[name].identity()


def _windows(latents: np.ndarray, seconds: float) -> np.ndarray:
    """Mean and spread of latents [T, D] in each three seconds: [windows, 2 D]."""
    parts = np.array_split(latents, max(1, round(seconds / WINDOW_SECONDS)))
    return np.stack([np.concatenate([part.mean(0), part.std(0)]) for part in parts]).astype(np.float32)
