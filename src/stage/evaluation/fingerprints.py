"""Fingerprints of models, by which results of one are not taken for another's (`stage.fingerprint`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from stage.checkpoints import adapters, installed
from stage.errors import StageError
from stage.fingerprint import DIGITS, of_files


def of_model(name_or_path: str, adapters_: Sequence[str] = ()) -> str | None:
    """Digest of a model's files and of those of its adapters; None where the model or an adapter is not at hand."""
    try:
        folders = [installed.find(name_or_path), *(adapters.find(name) for name in adapters_)]
    except StageError:
        return None
    return "+".join(of_files(folder) for folder in folders)


def of_stage(stage: Any) -> dict[str, Any]:
    """How a loaded model is sampled, and a digest of the weights of its decoder, codec and text encoder."""
    digest = hashlib.sha256()
    for part in (stage.decoder, stage.codec, stage.text):
        for name, tensor in sorted(getattr(part, "state_dict", dict)().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return {**vars(stage.config), "weights": digest.hexdigest()[:DIGITS]}
