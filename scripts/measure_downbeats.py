"""Beats and downbeats of held-out mixes without a stem, which are tracked, and with the chords (`stage.chords.bars`).

    python scripts/measure_downbeats.py CORPUS --stem drums --mixes 40

CORPUS: of `stage corpus`, with a split "heldout". Prints how many mixes have the right beats, those of half, double and
other tempi, or beats between them; the mean F of beats and downbeats (70 ms); how many mixes got the right bars by the
chords and how many lost them; and the seconds of processor time a mix that the chords take.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np

from stage.beats.grid import BeatGrid
from stage.beats.tracker import MODEL, track_with_confidence
from stage.chords.bars import counted
from stage.corpus.read import songs
from stage.evaluation.acceptance.player.clips import song_clips
from stage.evaluation.figures.beats import f_measure

RATE = 32000
RIGHT = 0.9
"""F from which beats and bars are right."""
LEVELS = {"half": 1 / 2, "2:3": 2 / 3, "between": 1.0, "3:2": 3 / 2, "double": 2.0}
"""Tempi of wrong beats, in true ones; at the true tempo they lie between the true beats, or do not keep it."""
NEAR = 0.08


def level(truth: BeatGrid, found: BeatGrid) -> str:
    """Which tempo the beats were found at: "right", one of `LEVELS`, or "other"."""
    if f_measure(truth.times, found.times) > RIGHT:
        return "right"
    return next((name for name, ratio in LEVELS.items() if abs(found.bpm / truth.bpm / ratio - 1) < NEAR), "other")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--stem", default="drums", help="the stem that the mixes lack")
    parser.add_argument("--mixes", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=42)
    asked = parser.parse_args()
    rows, levels = [], Counter()
    for clip in song_clips(songs(asked.corpus, "heldout"), asked.stem, asked.mixes, asked.seconds, asked.seed):
        audio, true = clip.context(RATE), clip.truth.grid
        tracked = track_with_confidence(audio, RATE)
        started = time.process_time()
        usual = tracked.grid.beats_per_bar in MODEL.meters
        grid = counted(audio, RATE, tracked.grid, tracked.downbeats, MODEL.meters if usual else None)
        took = time.process_time() - started
        downs = [f_measure(true.downbeats, one.downbeats) for one in (tracked.grid, grid)]
        rows.append((f_measure(true.times, grid.times), *downs, took))
        levels[level(true, grid)] += 1
    beats, before, after, took = np.array(rows).T
    found = ", ".join(f"{levels[name]} {name}" for name in ("right", *LEVELS, "other"))
    print(f"{len(rows)} mixes without {asked.stem}: {found}; beat F {beats.mean():.3f}")
    print(f"downbeat F: {before.mean():.3f} by the tracker alone, {after.mean():.3f} with the chords")
    right, now = before > RIGHT, after > RIGHT
    print(f"bars: {(~right & now).sum()} mended, {(right & ~now).sum()} lost")
    print(f"{took.mean():.3f} s of processor time a mix")


if __name__ == "__main__":
    main()
