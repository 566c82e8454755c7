"""How well `stage.chords.estimation` finds the chords of songs whose chords are known.

    python scripts/measure_chords.py data --split heldout --songs 100

The figures are mir_eval's: the share of the time in which the root, the major or minor triad (where the song has one)
and the chord with its seventh are right, means over songs. Needs the extra evaluate.
"""

from __future__ import annotations

import argparse
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

FIGURES = ("root", "majmin", "sevenths")


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
    return [
        mir_eval.chord.weighted_accuracy(getattr(mir_eval.chord, figure)(names, guesses), lengths) for figure in FIGURES
    ]


def measured(song: Song) -> Iterator[tuple[str, list[float]]]:
    """(what was given, figures) of a song."""
    true = truth(song)
    tracks = set(song.stems)
    for mix, roles in (
        ("whole mix", tracks),
        ("without drums", tracks - {"drums"}),
        ("without bass", tracks - {"bass"}),
    ):
        audio = song.read(sorted(roles), 0, song.samples)
        grids = {"true beats": BeatGrid(*song.beats.T)}
        if mix == "whole mix":
            grids |= {"tracked beats": find(audio, song.rate).grid, "no beats": None}
        for beats, grid in grids.items():
            yield f"{mix}, {beats}", compare(true, estimate(audio, song.rate, grid))


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("data", help="songs with chords, as `stage corpus` makes them")
    arguments.add_argument("--split", default="heldout")
    arguments.add_argument("--songs", type=int, default=100)
    asked = arguments.parse_args()
    warnings.filterwarnings("ignore", module="mir_eval")
    rows: dict[str, list[list[float]]] = {}
    for song in [s for s in open_songs(asked.data) if s.split == asked.split and s.chords][: asked.songs]:
        for kind, figures in measured(song):
            rows.setdefault(kind, []).append(figures)
    print(f"{'':32}" + "".join(f"{figure:>10}" for figure in FIGURES))
    for kind, figures in rows.items():
        print(f"{kind:32}" + "".join(f"{x:10.3f}" for x in np.mean(figures, 0)) + f"   {len(figures)} songs")


if __name__ == "__main__":
    main()
