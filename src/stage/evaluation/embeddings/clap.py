"""CLAP (arXiv 2211.06687): does the sound fit the words? By transformers, where the weights are in the hub's cache or
in $STAGE_CLAP."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stage.audio.files import resample
from stage.errors import StageError
from stage.evaluation.embeddings import hub

NAME, VARIABLE = "laion/clap-htsat-unfused", "STAGE_CLAP"


@dataclass
class Clap:
    """model, processor: of transformers."""

    model: Any
    processor: Any

    def audio(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """float32 [N] -> unit vector [1, D]."""
        import torch

        rate_wanted = self.processor.feature_extractor.sampling_rate
        inputs = self.processor(
            audio=resample(audio, rate, rate_wanted), sampling_rate=rate_wanted, return_tensors="pt"
        )
        with torch.inference_mode():
            return _unit(self.model.get_audio_features(**inputs))

    def text(self, text: str) -> np.ndarray:
        """Words -> unit vector [1, D]."""
        import torch

        inputs = self.processor(text=[text], return_tensors="pt", padding=True)
        with torch.inference_mode():
            return _unit(self.model.get_text_features(**inputs))

    def score(self, audio: np.ndarray, rate: int, text: str) -> float:
        """Cosine similarity of sound and words, -1..1."""
        return float((self.audio(audio, rate) * self.text(text)).sum())


def _unit(vectors: Any) -> np.ndarray:
    vectors = getattr(vectors, "pooler_output", vectors).float().numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@cache
def load() -> Clap:
    """Raises StageError where the weights are not here or cannot be read; nothing is downloaded."""
    from transformers import ClapModel, ClapProcessor

    place = hub.Place(VARIABLE, NAME)
    return Clap(place.load(ClapModel, use_safetensors=True).eval(), place.load(ClapProcessor))


def here() -> Clap | None:
    """CLAP, if its weights are here. Raises StageError where $STAGE_CLAP is set and they cannot be read."""
    try:
        return load()
    except StageError:
        if os.environ.get(VARIABLE):
            raise
        return None


def identity() -> str:
    """Fingerprint of the weights that `load` takes."""
    return hub.Place(VARIABLE, NAME).identity()
