"""How alike are sections of one name? A table, of notes alone: what draws them to the first, and how strongly.

    python benchmarks/sections.py --pieces 2 --corpus SONGS
    python benchmarks/sections.py --stem keys

Drums (or another stem) for a metronome and chords, to a form of eight bars of a verse and eight of a chorus in turn,
with what `stage.generation.sections` does left out, in part or whole. --corpus: true parts of composed songs
(`stage corpus --seconds 120`). Pattern distances (`stage.session.check.distance`, 0: the same, 1: nothing in common) of
the last section of a name from the first, of each from the next of its name, and of neighbours of different names;
means over pieces or songs.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from long import CHORDS, PART, part_of

from stage import machine
from stage.beats.grid import BeatGrid
from stage.generation import sections, windows
from stage.generation.performance import Performance
from stage.generation.request import Request
from stage.notes import Note
from stage.pipeline import Stage
from stage.session import check

SETTINGS = {
    "neither": (0.0, 0.0),
    "2 nats likelier": (0.0, 2.0),
    "the first in the past": (0.25, 0.0),
    "both, 1 nat": (0.25, 1.0),
    "both, 2 nats": (0.25, 2.0),
}
OTHERS = {"nothing": (0.0, 0.0), **{f"{nats:g} nats likelier": (0.0, nats) for nats in (0.5, 1.0, 2.0)}}
"""Share of a window for frames of the first section (`windows.RECALLED`), and nats (`sections.PULL`); of stems with
no such frames in their past the nats alone."""
FIGURES = ("last from first", "from the next", "different names")
Part = tuple[str, list[Note]]
"""A section's name and its notes, in beats from its beginning."""


def distances(parts: Sequence[Part]) -> list[float]:
    """The figures of sections; nan for what there is none of."""

    def distance(a: list[Note], b: list[Note]) -> float:
        most = max((note.start for note in [*a, *b]), default=0.0) + 1
        return check.distance(tuple(a), tuple(b), BeatGrid.regular(60, 4, most + 1), most)

    names = dict.fromkeys(name for name, _ in parts)
    same = [mine for name in names if len(mine := [notes for other, notes in parts if other == name]) > 1]
    pairs = (
        [(mine[0], mine[-1]) for mine in same],
        [pair for mine in same for pair in zip(mine, mine[1:])],
        [(a[1], b[1]) for a, b in zip(parts, parts[1:]) if a[0] != b[0]],
    )
    return [float(np.mean([distance(*pair) for pair in each])) if each else float("nan") for each in pairs]


def made(model: Stage, seed: int, stem: str, bars: int = 6 * PART) -> list[float]:
    """The figures of a stem for a metronome."""
    chosen = random.Random(seed)
    bpm = chosen.randint(80, 140)
    form = tuple(("verse" if i % 2 == 0 else "chorus", 1 + PART * i) for i in range(bars // PART))
    how = Performance(fill_bars=tuple(bar - 1 for _, bar in form[1:])) if stem == "drums" else Performance()
    request = Request.metronome(
        bpm, stem, bars=bars, seed=seed, chords=chosen.choice(CHORDS), performance=how, form=form
    )
    request = model.complete(request)
    prepared = model.prepare(request)
    plan = model._plan(request, prepared)
    codes = windows.play(**model._played(plan, request, None))
    played = model._sounding(request, prepared, plan).takes(codes)[0].notes
    notes = tuple(note._replace(start=note.start * bpm / 60, end=note.end * bpm / 60) for note in played)
    return distances([(name, list(part_of(notes, 4.0 * (bar - 1), 4.0 * (bar - 1 + PART)))) for name, bar in form])


def true(path: Path, stem: str) -> list[float]:
    """The figures of a song's own part; sections of different lengths share their beginnings."""
    song = json.loads(path.read_text(encoding="utf-8"))
    beats, parts = np.array(song["beats"]), []

    def place(seconds: float) -> float:
        return float(np.interp(seconds, beats, np.arange(len(beats))))

    notes = tuple(Note(place(start), place(end), *rest) for start, end, *rest in song["notes"][stem])
    shortest = min(round(place(section["end"]) - place(section["start"])) for section in song["sections"])
    for section in song["sections"]:
        first = round(place(section["start"]))
        if inside := part_of(notes, first, first + shortest):
            parts.append((section["kind"], list(inside)))
    return distances(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=4)
    parser.add_argument("--seed", type=int, default=200, help="of the first piece")
    parser.add_argument("--corpus", type=Path, help="a folder of songs, each with its song.json")
    parser.add_argument("--stem", default="drums")
    parser.add_argument("--model", default="player")
    asked = parser.parse_args()
    stem = asked.stem
    print(f"{asked.pieces} pieces, {machine.describe()}\n\n| {stem} | {' | '.join(FIGURES)} |\n| --- |{' --- |' * 3}")
    if asked.corpus:
        paths = sorted(asked.corpus.rglob("song.json"))
        rows = [true(path, stem) for path in paths if stem in json.loads(path.read_text(encoding="utf-8"))["notes"]]
        print(line(f"true, {len(rows)} songs", rows), flush=True)
    model = Stage.from_pretrained(asked.model, "cpu")
    settings = SETTINGS if stem in sections.RECALLING else OTHERS
    for name, (windows.RECALLED, sections.PULL[stem]) in settings.items():
        print(line(name, [made(model, asked.seed + i, stem) for i in range(asked.pieces)]), flush=True)


def line(name: str, rows: list[list[float]]) -> str:
    """A row of the table."""
    return f"| {name} | {' | '.join(f'{value:.2f}' for value in np.nanmean(rows, 0))} |"


if __name__ == "__main__":
    main()
