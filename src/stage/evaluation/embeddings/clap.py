"""CLAP (arXiv 2211.06687): does the sound fit the words? By transformers, where the weights are in the hub's cache or
in $STAGE_CLAP."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stage.audio.files import resample

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
    """Raises OSError where the weights are not here; nothing is downloaded."""
    from transformers import ClapModel, ClapProcessor

    place = os.environ.get(VARIABLE) or NAME
    options = {"local_files_only": True}
    return Clap(ClapModel.from_pretrained(place, **options).eval(), ClapProcessor.from_pretrained(place, **options))


def here() -> Clap | None:
    """CLAP, if its weights are here."""
    try:
        return load()
    except (OSError, ImportError, ValueError):
        return None
