"""Downbeats of held-out mixes without a stem: by the tracker alone, and with the chords (`stage.chords.bars`).

    python scripts/measure_downbeats.py CORPUS --stem drums --mixes 40

CORPUS: of `stage corpus`, with a split "heldout". Prints the mean F of downbeats (70 ms), how many mixes got the right
bars and how many lost them, and the seconds of processor time a mix that the chords take.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from stage.beats.tracker import MODEL, track_with_confidence
from stage.chords.bars import counted
from stage.corpus.read import songs
from stage.evaluation.acceptance.player.clips import song_clips
from stage.evaluation.figures.beats import f_measure

RATE = 32000
RIGHT = 0.9
"""F from which beats and bars are right."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--stem", default="drums", help="the stem that the mixes lack")
    parser.add_argument("--mixes", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=42)
    asked = parser.parse_args()
    rows = []
    for clip in song_clips(songs(asked.corpus, "heldout"), asked.stem, asked.mixes, asked.seconds, asked.seed):
        audio, true = clip.context(RATE), clip.truth.grid
        tracked = track_with_confidence(audio, RATE)
        started = time.process_time()
        usual = tracked.grid.beats_per_bar in MODEL.meters
        grid = counted(audio, RATE, tracked.grid, tracked.downbeats, MODEL.meters if usual else None)
        took = time.process_time() - started
        downs = [f_measure(true.downbeats, one.downbeats) for one in (tracked.grid, grid)]
        rows.append((f_measure(true.times, grid.times), *downs, took))
    beats, before, after, took = np.array(rows).T
    print(f"{len(rows)} mixes without {asked.stem}: the beats of {(beats > RIGHT).sum()} are right")
    print(f"downbeat F: {before.mean():.3f} by the tracker alone, {after.mean():.3f} with the chords")
    right, now = before > RIGHT, after > RIGHT
    print(f"bars: {(~right & now).sum()} mended, {(right & ~now).sum()} lost")
    print(f"{took.mean():.3f} s of processor time a mix")


if __name__ == "__main__":
    main()
