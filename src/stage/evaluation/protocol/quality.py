"""Distances of the stems of a condition to true stems: FAD and KAD over the audio that `run` has kept."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stage import fingerprint
from stage.audio.files import read
from stage.evaluation.embeddings import load as embeddings
from stage.evaluation.figures import distances
from stage.evaluation.protocol.task import TRUE, audio_path, folder
from stage.files import whole_file

FEWEST = 4
"""Clips of a condition below which no distance is given."""


def embedded(out: Path, name: str, condition: str, ids: Sequence[str]) -> list[np.ndarray]:
    """Embeddings [windows, D] of a condition's stems.

    Each is computed once and kept in OUT/embeddings, under the fingerprints of the audio and of the embedding's
    weights. What is kept and cannot be read is computed again.
    """
    place = out / "embeddings" / name / f"{folder(condition)}.npz"
    weights = embeddings.identity(name)
    keys = [f"{one}@{fingerprint.of_files(audio_path(out, condition, one))}@{weights}" for one in ids]
    kept = _kept(place)
    missing = [(one, key) for one, key in zip(ids, keys) if key not in kept]
    if missing:
        embed = embeddings.load(name)
        for one, key in missing:
            audio, rate = read(audio_path(out, condition, one))
            kept[key] = embed(audio[0], rate)
        with whole_file(place, force=True) as partial, partial.open("wb") as file:
            np.savez(file, **kept)
    return [kept[key] for key in keys]


def _kept(place: Path) -> dict[str, np.ndarray]:
    """The embeddings of a file; none where it is not there or damaged."""
    try:
        with np.load(place) as file:
            found = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return {}
    return {key: value for key, value in found.items() if value.ndim == 2 and value.dtype.kind == "f"}


def measure(
    out: Path, rows: Sequence[dict[str, Any]], names: Sequence[str], on_set: Callable[[str], None] | None = None
) -> list[dict[str, Any]]:
    """[{stem, kind, condition, embedding, clips, fad, kad}], each distance as {value, low, high, limit}, against the
    true stems of all mixes.

    The condition "true" is one half of the true stems against the other. Metronomes are compared with the same true
    stems.
    """
    found = []
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((row["stem"], row["kind"], row["condition"]), []).append(row["clip"])
    for name in names:
        for (stem, kind, condition), ids in groups.items():
            truth = groups.get((stem, "mix", TRUE), [])
            pair = (truth[::2], truth[1::2]) if condition == TRUE else (truth, ids)
            if min(map(len, pair)) < FEWEST:
                continue
            if on_set:
                on_set(f"{name}, {condition}")
            reference, made = embedded(out, name, TRUE, pair[0]), embedded(out, name, condition, pair[1])
            found.append(
                {
                    "stem": stem,
                    "kind": kind,
                    "condition": condition,
                    "embedding": name,
                    "clips": len(pair[1]),
                    "fad": vars(distances.fad(reference, made)),
                    "kad": vars(distances.kad(reference, made)),
                }
            )
    return found
