"""Is the form of a song found? A table, for composed songs (`stage corpus --seconds 120`), whose sections are known.

    python benchmarks/form.py CORPUS --songs 24

The mix is the sum of all stems. borders: F of the borders between sections, right within half a bar and within a bar
and a half. pairs: F of the pairs of bars that are in sections of one kind. Beside what is found (on the song's own
beats, and on tracked ones) stand forms of four and of eight bars each, all of one kind or each of its own, whichever
has the better F of pairs. Means, with 95 % intervals by the bootstrap over songs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from stage import BeatGrid, audio, machine
from stage.beats.find import Tracking, find
from stage.session.form import USUAL, bar_edges, cut, features, labels

FIGURES = ("borders, half a bar", "borders, 1.5 bars", "pairs")


def mix(folder: Path) -> tuple[np.ndarray, int]:
    """The sum of a song's stems, mono [1, N], and its rate."""
    read = [audio.read(path) for path in sorted(folder.glob("*.flac"))]
    return sum(audio.to_mono(sound)[None] for sound, _ in read), read[0][1]


def f_score(right: float, found: float, there: float) -> float:
    return 2 * right / (found + there) if found + there else 1.0


def border_score(found: np.ndarray, there: np.ndarray, near: float) -> float:
    """F of borders in seconds, each used once, the nearest first."""
    free, right = list(there), 0
    for border in found:
        close = [one for one in free if abs(one - border) <= near]
        if close:
            free.remove(min(close, key=lambda one: abs(one - border)))
            right += 1
    return f_score(right, len(found), len(there))


def pair_score(found: list, there: list) -> float:
    """F of pairs of moments with one label."""
    same = [np.array([[a == b for b in row] for a in row]) for row in (found, there)]
    upper = np.triu(np.ones_like(same[0]), 1)
    return f_score((same[0] & same[1] & upper).sum(), (same[0] & upper).sum(), (same[1] & upper).sum())


def score(starts: list[int], letters: list[str], edges: np.ndarray, song: dict) -> dict[str, float]:
    """The figures of a form whose sections begin with these bars."""
    there = np.array([section["start"] for section in song["sections"][1:]])
    bar = float(np.median(np.diff(edges)))
    borders = edges[starts[1:]]
    moments = np.arange(edges[0] + bar / 4, song["samples"] / song["rate"], bar / 2)
    found = np.searchsorted(edges[starts], moments, side="right") - 1
    true = np.searchsorted([section["start"] for section in song["sections"]], moments, side="right") - 1
    kinds = [song["sections"][max(i, 0)]["kind"] for i in true]
    near = zip(FIGURES, (bar / 2, 1.5 * bar))
    made = {name: border_score(borders, there, most) for name, most in near}
    return made | {"pairs": pair_score([letters[max(i, 0)] for i in found], kinds)}


def measured(folder: Path) -> dict[str, dict[str, float]]:
    """The figures of a song's forms, by name."""
    song = json.loads((folder / "song.json").read_text(encoding="utf-8"))
    sound, rate = mix(folder)
    seconds = sound.shape[1] / rate
    own = BeatGrid(np.array(song["beats"]), np.array(song["downbeat_numbers"]))
    grids = {"found, its own beats": own, "found, tracked beats": find(sound, rate, Tracking()).grid}
    made = {}
    for name, grid in grids.items():
        if grid is not None and len(grid.downbeats) > 1:
            edges = bar_edges(grid, seconds)
            bars = features(sound, rate, edges, USUAL.harmony)
            starts = cut(bars)
            made[name] = score(starts, labels(bars, starts, USUAL.alike), edges, song)
    edges = bar_edges(own, seconds)
    for bars in (4, 8):
        starts = list(range(0, len(edges) - 1, bars))
        rows = [score(starts, each, edges, song) for each in (["A"] * len(starts), [str(i) for i in starts])]
        made[f"every {bars} bars"] = max(rows, key=lambda row: row["pairs"])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a folder of songs, each with its song.json")
    parser.add_argument("--songs", type=int, default=24)
    asked = parser.parse_args()
    folders = [path.parent for path in sorted(asked.corpus.rglob("song.json"))][: asked.songs]
    rows = [measured(folder) for folder in folders]
    print(
        f"{len(rows)} songs, {machine.describe()}\n\n| form | {' | '.join(FIGURES)} |\n| --- |{' --- |' * len(FIGURES)}"
    )
    for name in rows[0]:
        cells = (cell([row[name][figure] for row in rows if name in row]) for figure in FIGURES)
        print(f"| {name} | {' | '.join(cells)} |")


def cell(values: list[float]) -> str:
    """Mean and interval."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return f"{np.mean(values):.2f} ({low:.2f}..{high:.2f})"


if __name__ == "__main__":
    main()
