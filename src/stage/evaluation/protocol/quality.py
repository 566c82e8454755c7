"""How near are the sounds of a condition to true stems? FAD and KAD over what `run` has kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stage.audio.files import read
from stage.evaluation.embeddings import load as embeddings
from stage.evaluation.figures import distances

FEWEST = 4
"""Clips of a condition below which a distance says nothing."""


def embedded(out: Path, name: str, condition: str, ids: Sequence[str]) -> list[np.ndarray]:
    """Embeddings [windows, D] of a condition's stems; each computed once and kept in OUT/embeddings."""
    place = out / "embeddings" / name / f"{condition.replace(' ', '-')}.npz"
    known = dict(np.load(place)) if place.exists() else {}
    missing = [one for one in ids if one not in known]
    if missing:
        embed = embeddings.load(name)
        for one in missing:
            audio, rate = read(out / "audio" / condition.replace(" ", "-") / f"{one}.flac")
            known[one] = embed(audio[0], rate)
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, **known)
    return [known[one] for one in ids]


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
            truth = groups.get((stem, "mix", "true"), [])
            pair = (truth[::2], truth[1::2]) if condition == "true" else (truth, ids)
            if min(map(len, pair)) < FEWEST:
                continue
            if on_set:
                on_set(f"{name}, {condition}")
            reference, made = embedded(out, name, "true", pair[0]), embedded(out, name, condition, pair[1])
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
