"""Chord progressions from a weighted functional grammar (tonic, subdominant, dominant)."""

from __future__ import annotations

import numpy as np

from stage.audio.chroma import PITCH_CLASSES
from stage.corpus.score import Chord, Metre, parity

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}

QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "dim": (0, 3, 6),
    "5": (0, 7),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m7b5": (0, 3, 6, 10),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "add9": (0, 4, 7, 2),
    "9": (0, 4, 7, 10, 2),
    "m9": (0, 3, 7, 10, 2),
    "maj9": (0, 4, 7, 11, 2),
    "7sus4": (0, 5, 7, 10),
    "dim7": (0, 3, 6, 9),
}

# mode -> function -> (semitones above the key, triad, weight); the light ones are borrowed chords
FUNCTIONS = {
    "major": {
        "T": ((0, "", 6), (9, "m", 3), (4, "m", 1.5)),
        "S": ((5, "", 5), (2, "m", 3), (5, "m", 0.6), (8, "", 0.5), (10, "", 0.7), (2, "7", 0.5)),
        "D": ((7, "", 5), (7, "sus4", 1), (11, "dim", 0.3), (10, "", 0.6), (1, "7", 0.2)),
    },
    "minor": {
        "T": ((0, "m", 6), (3, "", 2), (8, "", 2)),
        "S": ((5, "m", 4), (2, "dim", 0.6), (10, "", 2), (8, "", 2), (5, "", 0.6), (1, "", 0.4)),
        "D": ((7, "m", 2), (7, "", 3), (10, "", 2), (11, "dim", 0.3), (7, "sus4", 0.6)),
    },
    "dorian": {
        "T": ((0, "m", 6), (3, "", 1)),
        "S": ((5, "", 4), (2, "m", 2), (8, "", 0.3)),
        "D": ((10, "", 3), (7, "m", 2), (7, "sus4", 0.6)),
    },
    "mixolydian": {
        "T": ((0, "", 6), (9, "m", 1)),
        "S": ((5, "", 4), (2, "m", 1), (3, "", 0.4)),
        "D": ((10, "", 4), (7, "m", 1.5), (7, "", 0.7)),
    },
}
NEXT = {"T": ("TSD", (0.22, 0.48, 0.30)), "S": ("TSD", (0.34, 0.16, 0.50)), "D": ("TSD", (0.74, 0.16, 0.10))}


def pick(rng: np.random.Generator, items, weights=None):
    """One of `items`, with weights that need not sum to one."""
    items = list(items)
    if weights is None:
        return items[int(rng.integers(len(items)))]
    p = np.asarray(weights, dtype=float)
    return items[int(rng.choice(len(items), p=p / p.sum()))]


def _walk(rng: np.random.Generator, mode: str, length: int) -> list[tuple[int, str, str]]:
    function = pick(rng, "TSD", (0.82, 0.13, 0.05))
    steps: list[tuple[int, str, str]] = []
    while len(steps) < length:
        table = FUNCTIONS[mode][function]
        offset, triad, _ = pick(rng, table, [w for *_, w in table])
        if not steps or (offset, triad) != steps[-1][:2]:
            steps.append((offset, triad, function))
        letters, weights = NEXT[function]
        function = pick(rng, letters, weights)
    return steps


def _blues(rng: np.random.Generator, mode: str) -> list[tuple[int, str, str]]:
    triad = "m" if mode in ("minor", "dorian") else ""
    one, four, five = (0, triad, "B"), (5, triad, "B"), (7, "", "B")
    bars = [one] * 4 + [four, four, one, one, five, four, one, five]
    if rng.random() < 0.5:
        bars[1] = four
    if rng.random() < 0.3:
        bars[9] = five
    if rng.random() < 0.3:
        bars[11] = one
    if rng.random() < 0.25:
        bars[5] = (6, "dim", "B")
    if rng.random() < 0.25:
        bars[7] = (9, "7", "B")
    if rng.random() < 0.25:
        bars[8] = (2, "m", "B")
    if rng.random() < 0.2:
        bars[9] = (8, "7", "B")
    return bars


def signature(mode: str, steps: list[tuple[int, str, str]]) -> str:
    """The key-free name of a progression, whose hash decides which split may use it."""
    return mode + ":" + ",".join(f"{offset}{triad}" for offset, triad, _ in steps)


def progression(rng: np.random.Generator, mode: str, side: int, blues: float = 0.0) -> list[tuple[int, str, str]]:
    """A list of (semitones above the key, triad, function) whose hash has the parity `side`."""
    while True:
        if rng.random() < blues:
            steps = _blues(rng, mode)
        else:
            steps = _walk(rng, mode, int(pick(rng, (2, 3, 4, 5, 6, 8), (0.16, 0.08, 0.5, 0.05, 0.06, 0.15))))
        if parity(signature(mode, steps)) == side:
            return steps


def _colour(rng: np.random.Generator, triad: str, function: str, colour: float, power: bool) -> str:
    if power and triad in ("", "m") and rng.random() < 0.7:
        return "5"
    if function == "B":
        return {"": "7", "m": "m7", "dim": "dim7"}.get(triad, triad)
    if rng.random() >= colour:
        if triad in ("", "m") and rng.random() < 0.06:
            return pick(rng, ("sus4", "sus2") if triad == "" else ("sus2", "m"))
        return triad
    if triad == "":
        options = ("7", "9", "7sus4") if function == "D" else ("maj7", "6", "add9", "maj9")
        return pick(rng, options, (5, 2, 1) if function == "D" else (5, 2, 2, 1.5))
    return {"m": pick(rng, ("m7", "m9", "m6"), (6, 2, 0.5)), "dim": "m7b5", "sus4": "7sus4"}.get(triad, triad)


def lay_out(
    rng: np.random.Generator,
    steps: list[tuple[int, str, str]],
    *,
    key: int,
    metre: Metre,
    first_bar: int,
    bars: int,
    bars_each: float,
    colour: float,
    power: bool = False,
    slash: float = 0.07,
) -> list[Chord]:
    """The progression as sounding chords that fill `bars` bars, `bars_each` bars a chord."""
    if any(function == "B" for *_, function in steps):
        bars_each = 1.0
    span = max(bars_each * metre.beats, 1.0)
    begin, end = first_bar * metre.beats, (first_bar + bars) * metre.beats
    coloured = []
    for offset, triad, function in steps:
        quality = _colour(rng, triad, function, colour, power)
        bass_degree = int(pick(rng, (1, 2))) if triad in ("", "m") and quality != "5" and rng.random() < slash else 0
        coloured.append((offset, quality, bass_degree))
    chords: list[Chord] = []
    at, i = float(begin), 0
    while at < end - 1e-6:
        offset, quality, degree = coloured[i % len(coloured)]
        root = (key + offset) % 12
        classes = tuple((root + x) % 12 for x in QUALITIES[quality])
        bass = classes[degree]
        name = PITCH_CLASSES[root] + quality + (f"/{PITCH_CLASSES[bass]}" if degree else "")
        chords.append(Chord(at, min(at + span, end), root, bass, classes, name))
        at, i = at + span, i + 1
    return chords
