"""Validation of coherence scorers: how often the right context ranks over a wrong one, for each stem and each kind of
wrong context, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stage.data.examples import stretch
from stage.data.song import Song
from stage.errors import StageError
from stage.evaluation.coherence import Score
from stage.evaluation.figures.harmony import UNPITCHED
from stage.evaluation.figures.statistics import wilson
from stage.evaluation.tables import markdown

SECONDS = 5.0
WAYS = ("another song", "elsewhere in the song", "half a beat late", "a quarter beat late", "transposed")
STEMS = ("drums", "bass", "guitar", "keys")
SOUNDS = 0.05
"""Stem and context must have a louder sample than this in a trial."""


def trials(
    songs: Sequence[Song], stem: str, count: int, rng: np.random.Generator
) -> list[tuple[int, np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
    """(rate, stem [N], right context [N], wrong contexts by kind) of `count` places; fewer where songs are short or
    silent."""
    usable = [song for song in songs if stem in song.stems and len(song.stems) > 1 and song.seconds > 2 * SECONDS + 2]
    found = []
    for _ in range(4 * count):
        if not usable or len(found) == count:
            break
        song, other = usable[rng.integers(len(usable))], usable[rng.integers(len(usable))]
        size, others = round(SECONDS * song.rate), [role for role in song.stems if role != stem]
        first = int(rng.integers(song.samples - size - song.rate))
        target, context = song.read(stem, first, size)[0], song.read(others, first, size)[0]
        if other.id == song.id or min(np.abs(target).max(), np.abs(context).max()) < SOUNDS:
            continue
        wrong = {}
        far = [place for place in range(0, song.samples - size, song.rate) if abs(place - first) > size]
        wrong["another song"] = other.read(
            [role for role in other.stems if role != stem], int(rng.integers(other.samples - size)), size
        )[0]
        if far:
            wrong["elsewhere in the song"] = song.read(others, far[rng.integers(len(far))], size)[0]
        if song.tempo:
            for way, part in (("half a beat late", 0.5), ("a quarter beat late", 0.25)):
                wrong[way] = song.read(others, first + round(part * 60 / song.tempo * song.rate), size)[0]
        if stem not in UNPITCHED:
            step = int(rng.choice([-4, -3, -2, -1, 1, 2, 3, 4]))
            moved = stretch(context[None], song.rate, 1.0, step)[0][:size]
            wrong["transposed"] = np.pad(moved, (0, size - len(moved)))
        found.append((song.rate, target, context, wrong))
    return found


def validate(
    songs: Sequence[Song],
    scorers: Mapping[str, Score],
    count: int,
    seed: int,
    on_trial: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str, str], np.ndarray]:
    """(scorer, stem, kind of wrong context) -> bool [n]: whether the right context scored higher.

    Raises StageError where no trial can be made.
    """
    rng, hits, done = np.random.default_rng(seed), {}, 0
    for stem in STEMS:
        for rate, target, right, wrong in trials(songs, stem, count, rng):
            for name, score in scorers.items():
                best = score(target, right, rate)
                for way, context in wrong.items():
                    hits.setdefault((name, stem, way), []).append(best > score(target, context, rate))
            done += 1
            if on_trial:
                on_trial(done, count * len(STEMS))
    if not hits:
        raise StageError(
            "no trial can be made: songs of more than 12 seconds with drums, bass, guitar or keys beside other stems"
            " are needed"
        )
    return {key: np.array(value) for key, value in hits.items()}


def table(found: Mapping[tuple[str, str, str], np.ndarray], songs: int) -> str:
    """Markdown: a row for each scorer and stem, a column for each kind of wrong context."""
    rows = [[f"scorer, stem ({songs} songs)", *WAYS]]
    for name, stem in dict.fromkeys((name, stem) for name, stem, _ in found):
        hits = [found.get((name, stem, way)) for way in WAYS]
        rows.append([f"{name}, {stem}", *("" if one is None else _cell(one) for one in hits)])
    return markdown(rows)


def _cell(hits: np.ndarray) -> str:
    low, high = wilson(hits)
    return f"{hits.mean():.3f} ({low:.2f}..{high:.2f}, {len(hits)})"
