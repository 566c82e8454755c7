"""What data sets report of a song beside its sound, checked: a value of another kind is left out, and reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stage.data.song import Problem, Song


def checked(song: Song, problems: list[Problem]) -> Song:
    """The song without those of its facts that are not what `Song` documents; each of them is a problem."""
    changes: dict[str, Any] = {}
    for name, (right, otherwise) in FACTS.items():
        value = getattr(song, name)
        if value is not None and not _holds(right, value):
            changes[name] = otherwise
            problems.append(
                Problem(song.id, "bad metadata", f"{name} cannot be {_short(value)}. The song stays, without it")
            )
    return replace(song, **changes) if changes else song


def _holds(right: Callable[[Any], bool], value: Any) -> bool:
    try:
        return bool(right(value))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return False


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_text, value))


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < float(value) < math.inf


def _beats(table: Any) -> bool:
    """float64 [n, 2]: rising seconds, and numbers from 1 on."""
    times, numbers = table[:, 0], table[:, 1]
    whole = numbers.min(initial=1) >= 1 and np.array_equal(numbers, np.round(numbers))
    return table.shape[1] == 2 and np.isfinite(table).all() and (np.diff(times) > 0).all() and whole


def _chords(rows: Any) -> bool:
    return isinstance(rows, Sequence) and not isinstance(rows, str) and all(map(_chord, rows))


def _chord(row: Mapping) -> bool:
    classes = [*row["pitch_classes"], *([] if row["root"] is None else [row["root"]])]
    named = row.get("name") is None or _text(row["name"])
    return (
        -math.inf < float(row["start"]) <= float(row["end"]) < math.inf
        and all(isinstance(one, int) and 0 <= one < 12 for one in classes)
        and named
    )


def _levels(table: Any) -> bool:
    return isinstance(table, dict) and all(_text(role) and math.isfinite(level) for role, level in table.items())


FACTS: dict[str, tuple[Callable[[Any], bool], Any]] = {
    "artist": (_text, ""),
    "title": (_text, ""),
    "key": (_text, None),
    "split": (_text, None),
    "tempo": (_positive, None),
    "beats": (_beats, None),
    "genres": (_texts, ()),
    "moods": (_texts, ()),
    "captions": (_texts, ()),
    "chords": (_chords, None),
    "loudness": (_levels, None),
}
"""Field of `Song` -> (whether a value is right, what stands there otherwise)."""


def truth(value: Any) -> bool:
    """A flag of a metadata file: true, 1, and the words for it in any case; everything else is false."""
    return value.strip().lower() in ("true", "yes", "y", "on", "1") if isinstance(value, str) else bool(value)


def _short(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an integer of thousands of digits
        return "a very large number"
    return text if len(text) <= 60 else f"{text[:57]}..."
