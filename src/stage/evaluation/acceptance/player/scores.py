"""From kept rows to figures: each condition of each task, clip by clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stage.evaluation.acceptance.clips import wrong_partners
from stage.evaluation.acceptance.player.clips import PartClip, PlayerMaterial
from stage.evaluation.acceptance.player.jobs import BASELINES
from stage.evaluation.acceptance.player.takes import Measured
from stage.evaluation.acceptance.score import around
from stage.evaluation.figures import beats, harmony
from stage.evaluation.figures import notes as figures

CONDITIONS = ("true", "made", "wrong", "none", *BASELINES)
"""The true part; the model's to this context, to another one, and to none; the baselines."""
FIGURES: dict[str, str] = {
    "beat_f": "beat F",
    "onset_f": "onset F",
    "kick_snare": "kick, snare F",
    "density": "a second",
    "sounding": "sounding",
    "velocity": "velocity",
    "repetition": "repetition",
    "in_chord": "in chord",
    "voiced": "voiced",
}
"""Figures of a take, and the heads of their columns."""
BORDER = 0.1
"""Seconds between a section's border and the end of the bar before it."""

Scores = dict[str, np.ndarray]
"""Of one condition: figure -> float64 [clips], nan where it does not apply."""


def score(clip: PartClip, take: Measured) -> dict[str, float]:
    """All figures of a take against a clip's truth."""
    notes, seconds, nan = take.notes, clip.seconds, float("nan")
    beat_f = nan
    if take.beats is not None:
        beat_f = beats.f_measure(clip.truth.grid.times, take.grid(around(clip.truth.bpm)).times)
    return {
        "beat_f": beat_f,
        "onset_f": figures.part_f(clip.notes, notes, clip.drums),
        "kick_snare": figures.piece_f(clip.notes, notes, figures.KICK_SNARE) if clip.drums else nan,
        "density": figures.density(notes, seconds, clip.drums),
        "sounding": nan if take.sounding is None else take.sounding,
        "velocity": figures.velocity_spread(notes),
        "repetition": figures.repetition(notes, clip.bars, clip.drums),
        "in_chord": nan if clip.drums else harmony.share_in_chord(notes, clip.truth.chords),
        "voiced": nan if take.voiced is None else take.voiced,
    }


def takes_of(rows: Mapping[str, dict], task: str, name: str = "take") -> list[Measured]:
    """The takes of a task in the order of its clips; of `baselines`, that of one. Empty where one is missing."""
    keys = sorted(key for key in rows if key.rsplit("/", 1)[0] == task)
    return [Measured.from_json(rows[key][name]) for key in keys] if all(name in rows[key] for key in keys) else []


def takes(rows: Mapping[str, dict], material: PlayerMaterial, task: str) -> dict[str, list[Measured]]:
    """Condition -> a take for each clip of a task, in order; a condition that was not made is left out."""
    clips = material.of(task)
    made, none = takes_of(rows, f"made {task}"), takes_of(rows, f"none {clips[0].stem}")
    found = {"true": takes_of(rows, f"true {task}"), "made": made}
    if made:
        partners = wrong_partners([clip.truth for clip in clips], material.settings.seed, harmony=not clips[0].drums)
        if None not in partners:
            found["wrong"] = [made[i] for i in partners if i is not None]
    if none:
        found["none"] = [none[i % len(none)] for i in range(len(clips))]
    found |= {name: takes_of(rows, f"baselines {task}", name) for name in BASELINES}
    return {condition: found[condition] for condition in CONDITIONS if found.get(condition)}


def scores(clips: Sequence[PartClip], made: Sequence[Measured]) -> Scores:
    """Figures of takes, one for each clip."""
    rows = [score(clip, take) for clip, take in zip(clips, made)]
    return {name: np.array([row[name] for row in rows], np.float64) for name in FIGURES}


def fill_shares(clips: Sequence[PartClip], made: Sequence[Measured]) -> tuple[np.ndarray, np.ndarray]:
    """Whether there is a fill: in each bar before a section's border, and in each other bar (bool, over all clips)."""
    before, other = [], []
    for clip, take in zip(clips, made):
        for found, end in zip(figures.fills(take.notes, clip.bars), clip.bars[1:]):
            last = any(abs(end - border) < BORDER for border in clip.borders)
            (before if last else other).append(bool(found))
    return np.array(before, bool), np.array(other, bool)


def halves(
    distance: Callable[[np.ndarray, np.ndarray], float],
    true: Sequence[np.ndarray],
    others: Mapping[str, Sequence[np.ndarray]],
    seed: int,
    splits: int = 12,
) -> dict[str, np.ndarray]:
    """Distances of conditions to the true parts: name -> [splits].

    true, others: embeddings [windows, D] of each clip. Each split takes one random half of the clips' true parts as the
    reference, and of every condition the other half of the clips; "true" is the true parts' own other half.
    """
    rng, found = np.random.default_rng([seed, 8]), {name: [] for name in ("true", *others)}
    for _ in range(splits):
        order = rng.permutation(len(true))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        reference = np.concatenate([true[i] for i in first])
        for name, made in {"true": true, **others}.items():
            found[name].append(distance(reference, np.concatenate([made[i] for i in second])))
    return {name: np.array(values) for name, values in found.items()}
