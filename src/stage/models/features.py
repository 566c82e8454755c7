"""What is known of each frame of the target's time line beside codes: its place in beat and bar, the chord, controls.

The decoder adds a projection of these numbers to the columns of context and target of the same moment. Each kind has a
number that says whether it is known, so that each may be missing (in training they are dropped at random).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stage.beats.grid import BeatGrid
from stage.models import heard
from stage.models.events import TimeLine
from stage.notes import Note

DIVISION = 12
BARS = 7
"""Beats of a bar that have a number of their own; longer bars count on from the last."""
CONTROLS = ("density", "dynamics", "border")
"""density: how much is played, 0..1. dynamics: how loudly, 0..1. border: 1 in the bar before a new section."""
BUSIEST = 12.0
"""Events a beat that are a density of 1."""
BEAT, CHORD = DIVISION + BARS + (BARS + 1) + 3, 1 + 12 + 12
HEARD = BEAT + CHORD + 2 * len(CONTROLS)
"""Where what is measured of the mix begins: whether it is known, and `stage.models.heard`."""
SIZE = HEARD + 1 + heard.SIZE


def beat_features(line: TimeLine, bars: bool = True, grid: BeatGrid | None = None) -> np.ndarray:
    """[T, BEAT] float32: subdivision, number in the bar, beats of the bar (one of each), known, tempo and its square.

    bars: leave the numbers in when they are known. grid: for frames of equal length, the beats among which they lie.
    """
    made = np.zeros((line.frames, BEAT), np.float32)
    frames = np.arange(line.frames)
    if line.division:
        part, numbers = frames % line.division / line.division, line.numbers
        length = np.diff(line.times) * line.division
    elif grid is not None and len(grid.times) > 1:
        times = np.asarray(grid.times)
        beat = (np.searchsorted(times, line.times[:-1], side="right") - 1).clip(0, len(times) - 2)
        length = np.diff(times)[beat]
        part = (line.times[:-1] - times[beat]) / length % 1
        numbers = np.asarray(grid.numbers)[beat]
    else:
        return made
    made[frames, (part * DIVISION + 1e-6).astype(int).clip(0, DIVISION - 1)] = 1
    if bars and numbers.any():
        known = numbers > 0
        made[frames[known], DIVISION + np.minimum(numbers[known], BARS) - 1] = 1
        made[:, DIVISION + BARS + min(int(numbers.max()), BARS)] = 1
    octaves = np.log2(0.5 / np.maximum(length, 1e-3))
    made[:, -3] = 1
    made[:, -2], made[:, -1] = octaves, octaves**2
    return made


def chord_features(line: TimeLine, chords: Sequence[tuple[float, float, int, Sequence[int]]] | None) -> np.ndarray:
    """[T, CHORD] float32. chords: (start, end, root or -1 for no chord, pitch classes) in seconds; None: not known."""
    made = np.zeros((line.frames, CHORD), np.float32)
    if chords is None:
        return made
    made[:, 0] = 1
    middle = (line.times[1:] + line.times[:-1]) / 2
    for start, end, root, classes in chords:
        inside = (middle >= start) & (middle < end)
        if root >= 0:
            made[inside, 1 + root] = 1
            for pitch in classes:
                made[inside, 13 + pitch % 12] = 1
    return made


def control_features(line: TimeLine, controls: Mapping[str, np.ndarray | float]) -> np.ndarray:
    """[T, 2 * len(CONTROLS)] float32: whether each is known, and its value at each frame ([T], or one for all)."""
    made = np.zeros((line.frames, 2 * len(CONTROLS)), np.float32)
    for i, name in enumerate(CONTROLS):
        if name in controls:
            made[:, 2 * i], made[:, 2 * i + 1] = 1, controls[name]
    return made


def measured(notes: Sequence[Note], line: TimeLine, by_bar: bool = True) -> dict[str, np.ndarray]:
    """What "density" and "dynamics" are where these notes are played: [T] float32 each.

    The density of n notes a beat (of a chord's notes, all but one count a quarter) is log(1 + n) / log(1 + BUSIEST).
    by_bar: for each bar (of four beats where bars are not known; two seconds where no beats are), else for all of them;
    a bar without notes has the dynamics of all.
    """
    edges = _bars(line) if by_bar else np.array([0, line.frames])
    beats = np.diff(edges) / (line.division or line.frames / max(line.times[-1] - line.times[0], 1e-6) / 2)
    places = line.place(np.array([note.start for note in notes]))
    inside = (places > -0.5) & (places < line.frames)
    bar = (np.searchsorted(edges, places[inside].clip(0), side="right") - 1).clip(0, len(beats) - 1)
    velocity = np.array([note.velocity for note in notes], np.float64)[inside]
    new = np.diff(np.round(places[inside]), prepend=-9) > 0.5
    count = np.bincount(bar, np.where(new, 1.0, 0.25), len(beats))
    loud, many = np.bincount(bar, velocity, len(beats)), np.bincount(bar, minlength=len(beats))
    mean = velocity.mean() if len(velocity) else 64.0
    dynamics = np.where(many > 0, loud / np.maximum(many, 1), mean) / 127
    density = np.minimum(1.0, np.log1p(count / beats) / np.log1p(BUSIEST))
    frames = np.diff(edges)
    return {n: np.repeat(x, frames).astype(np.float32) for n, x in (("density", density), ("dynamics", dynamics))}


def _bars(line: TimeLine) -> np.ndarray:
    """The first frame of each bar, and the number of frames."""
    if not line.division:
        step = max(1, round(2 / max(float(np.diff(line.times).mean()), 1e-6)))
        return np.append(np.arange(0, line.frames, step), line.frames)
    beats = line.numbers[:: line.division]
    first = np.flatnonzero(beats == 1) if (beats == 1).any() else np.arange(0, len(beats), 4)
    return np.unique(np.concatenate([[0], first * line.division, [line.frames]]))


def features(
    line: TimeLine,
    chords: Sequence[tuple[float, float, int, Sequence[int]]] | None = None,
    controls: Mapping[str, np.ndarray | float] | None = None,
    bars: bool = True,
    grid: BeatGrid | None = None,
    mix: np.ndarray | None = None,
) -> Tensor:
    """[T, SIZE] float32 of a time line. See `beat_features`, `chord_features` and `control_features`. mix: what is
    measured of it at these frames (`stage.models.heard.Heard.at`), None: there is none."""
    parts = [beat_features(line, bars, grid), chord_features(line, chords), control_features(line, controls or {})]
    known = np.zeros((line.frames, 1 + heard.SIZE), np.float32)
    if mix is not None:
        known[:, 0], known[:, 1:] = 1, mix
    return torch.from_numpy(np.concatenate([*parts, known], 1))


def beat_alone(features: Tensor) -> Tensor:
    """Features [..., SIZE] with the beat's alone: chord and controls are not known."""
    kept = features.clone()
    kept[..., BEAT:] = 0
    return kept
