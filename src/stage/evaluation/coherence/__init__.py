"""Coherence: does a stem belong to its context? COCOLA where its checkpoint is, and a scorer of our own that is always
here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from stage import fingerprint

Score = Callable[[np.ndarray, np.ndarray, int], float]
"""(stem float32 [N], context float32 [N], rate in Hz) -> higher is better."""


def scorers(device: str = "cpu", weights: Path | None = None, cocola: Path | None = None) -> dict[str, Score]:
    """The scorers that are here, by name: "ours", and "cocola", "cocola-harmonic", "cocola-percussive" where a
    checkpoint is named."""
    from stage.evaluation.coherence import cocola as published
    from stage.evaluation.coherence import scorer

    found: dict[str, Score] = {
        "ours": partial(scorer.score, model=scorer.load(weights or scorer.WEIGHTS, device), device=device)
    }
    if (place := cocola or published.place()) is not None:
        model = published.load(place, device)
        for mode in published.MODES:
            found["cocola" if mode == "both" else f"cocola-{mode}"] = partial(
                published.score, model=model, mode=mode, device=device
            )
    return found


def identities() -> dict[str, str]:
    """Fingerprints of the weights of the scorers that are here."""
    from stage.evaluation.coherence import cocola, scorer

    found = {"ours": fingerprint.of_files(scorer.WEIGHTS)}
    if (place := cocola.place()) is not None:
        found["cocola"] = fingerprint.of_files(place)
    return found
