"""Beats of recordings that people charted for the game Frets on Fire: whole, and their guitar alone.

    python scripts/measure_charts.py FOLDER --seconds 10 --every 20

FOLDER: of songs, at any depth; each has notes.mid, whose tempo map is the truth, guitar.ogg, and song.ogg with all else
(eight are in Debian's packages fretsonfire-songs-muldjord and fretsonfire-songs-sectoid). Prints, for excerpts and for
entire songs, how many have the right beats (F within 70 ms above 0.9), those of half, double and other tempi, or beats
between them; and the mean F.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from measure_downbeats import LEVELS, level

from stage import audio
from stage.beats.find import find
from stage.beats.grid import BeatGrid
from stage.beats.reading import of_midi
from stage.evaluation.figures.beats import f_measure

FAINT = 0.02
"""Peak below which an excerpt is silence."""
EDGE = 10.0
"""Seconds at either end from which no excerpts are taken."""


def read(folder: Path) -> tuple[dict[str, np.ndarray], int, BeatGrid]:
    """A song's sounds [2, N] by name, their rate, and its beats."""
    (guitar, rate), (rest, _) = (audio.read(folder / name) for name in ("guitar.ogg", "song.ogg"))
    count = min(guitar.shape[-1], rest.shape[-1])
    sounds = {"whole": guitar[:, :count] + rest[:, :count], "guitar alone": guitar[:, :count]}
    return sounds, rate, of_midi(folder / "notes.mid", count / rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0, help="of an excerpt")
    parser.add_argument("--every", type=float, default=20.0, help="seconds from one to the next")
    asked = parser.parse_args()
    levels: dict[str, Counter] = {}
    scores: dict[str, list[float]] = {}
    for chart in sorted(asked.folder.rglob("notes.mid")):
        sounds, rate, truth = read(chart.parent)
        for name, sound in sounds.items():
            length = sound.shape[-1] / rate
            starts = np.arange(EDGE, length - EDGE - asked.seconds, asked.every)
            for kind, start, end in [(f"{name}, excerpts", s, s + asked.seconds) for s in starts] + [
                (name, 0.0, length)
            ]:
                part = sound[:, round(start * rate) : round(end * rate)]
                if np.abs(part).max() < FAINT:
                    continue
                true, found = truth.crop(start, end), find(part, rate).grid
                grid = found or BeatGrid(np.zeros(0), np.zeros(0, int))
                levels.setdefault(kind, Counter())[level(true, grid) if found else "none"] += 1
                scores.setdefault(kind, []).append(f_measure(true.times, grid.times))
        print(f"{chart.parent.name}: {truth.bpm:.0f} BPM", flush=True)
    for kind, counts in levels.items():
        shown = ", ".join(f"{counts[name]} {name}" for name in ("right", *LEVELS, "other", "none") if counts[name])
        print(f"{kind}, {counts.total()}: {shown}; beat F {np.mean(scores[kind]):.3f}")


if __name__ == "__main__":
    main()
