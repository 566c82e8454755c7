"""How well `stage.chords.estimation` finds the chords of songs whose chords are known.

    python scripts/measure_chords.py data --split heldout --songs 100
    python scripts/measure_chords.py data --split heldout --songs 100 --crop 10

The figures are mir_eval's: the share of the time in which the root, the major or minor triad (where the song has one)
and the chord with its seventh are right; and the share of the found chords' tones that belong to the true chord (which
is what an accompaniment plays). Means over songs. Needs the extra evaluate.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator

import mir_eval
import numpy as np

from stage.beats.find import find
from stage.beats.grid import BeatGrid
from stage.chords import Chart, Span, parse
from stage.chords.estimation import estimate
from stage.chords.symbols import NO_CHORD
from stage.data.open import open_songs
from stage.data.song import Song

FIGURES = ("root", "majmin", "sevenths", "tones")
WITHOUT = {
    "whole mix": (),
    "without drums": ("drums",),
    "without bass": ("bass",),
    "without keys": ("keys",),
    "without guitar": ("guitar",),
    "bass, drums, lead": ("keys", "guitar", "pads"),
}
"""The stems that each mix lacks."""


def truth(song: Song) -> Chart:
    """The chords of a song's metadata."""
    rows = song.chords or ()
    return Chart(tuple(Span(r["start"], r["end"], NO_CHORD if r["root"] is None else parse(r["name"])) for r in rows))


def compare(true: Chart, found: Chart) -> list[float]:
    """`FIGURES` of one song."""
    (known, names), (times, guesses) = (
        (np.array([(s.start, s.end) for s in chart]), [s.chord.lab for s in chart]) for chart in (true, found)
    )
    none = mir_eval.chord.NO_CHORD
    times, guesses = mir_eval.util.adjust_intervals(times, guesses, known.min(), known.max(), none, none)
    times, names, guesses = mir_eval.util.merge_labeled_intervals(known, names, times, guesses)
    lengths = np.maximum(times[:, 1] - times[:, 0], 0)
    figures = [
        mir_eval.chord.weighted_accuracy(getattr(mir_eval.chord, figure)(names, guesses), lengths)
        for figure in FIGURES[:-1]
    ]
    return [*figures, tones(true, found, times)]


def tones(true: Chart, found: Chart, times: np.ndarray) -> float:
    """The share of the found chords' tones that belong to the true ones, where both have a root. times: [n, 2]."""
    total = inside = 0.0
    for start, end in times:
        known, guess = (set(chart.at((start + end) / 2).classes) for chart in (true, found))
        if known and guess:
            total += end - start
            inside += (end - start) * len(known & guess) / len(guess)
    return inside / total if total else np.nan


def measured(song: Song, crop: float | None) -> Iterator[tuple[str, list[float], float]]:
    """(what was given, figures, seconds of processor time) of a song, or of its middle `crop` seconds."""
    whole = song.samples / song.rate
    start = 0.0 if crop is None else max(0.0, (whole - crop) / 2)
    end = whole if crop is None else min(whole, start + crop)
    true, known = truth(song).crop(start, end), BeatGrid(*song.beats.T).crop(start, end)
    for mix, without in WITHOUT.items():
        roles = set(song.stems) - set(without)
        if len(roles) == len(song.stems) and without or not roles - {"drums"} or not true.spans:
            continue
        audio = song.read(sorted(roles), round(start * song.rate), round((end - start) * song.rate))
        grids = {"true beats": known}
        if mix == "whole mix" or crop is not None:
            grids["tracked beats"] = find(audio, song.rate).grid or BeatGrid.empty()
        if mix == "whole mix":
            grids["no beats"] = BeatGrid.empty()
        for beats, grid in grids.items():
            clock = time.process_time()
            found = estimate(audio, song.rate, grid)
            yield f"{mix}, {beats}", compare(true, found), time.process_time() - clock


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("data", help="songs with chords, as `stage corpus` makes them")
    arguments.add_argument("--split", default="heldout")
    arguments.add_argument("--songs", type=int, default=100)
    arguments.add_argument("--crop", type=float, help="seconds from the middle of each song, on tracked beats too")
    asked = arguments.parse_args()
    warnings.filterwarnings("ignore", module="mir_eval")
    rows: dict[str, list[list[float]]] = {}
    for song in [s for s in open_songs(asked.data) if s.split == asked.split and s.chords][: asked.songs]:
        for kind, figures, seconds in measured(song, asked.crop):
            rows.setdefault(kind, []).append([*figures, seconds])
    print(f"{'':32}" + "".join(f"{figure:>10}" for figure in (*FIGURES, "CPU s")))
    for kind, figures in rows.items():
        print(f"{kind:32}" + "".join(f"{x:10.3f}" for x in np.nanmean(figures, 0)) + f"   {len(figures)} songs")


if __name__ == "__main__":
    main()
