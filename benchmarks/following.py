"""What is the choice by what follows worth? A table, for bars of held-out songs that are played again.

    python benchmarks/following.py CORPUS --edits 96 --log following.jsonl

An edit: one or two bars of the true drums, bass, keys or guitar of a song (`stage corpus`) are made again, between the
true bars before and after, as `stage session redo` makes them: several candidates, of which the one is taken after
which the model finds the four beats that follow the likeliest (`stage.generation.refill`). *chosen* is that one, *any*
the mean of all (a candidate that is drawn at random), *true* the bars that were there.
follows: nats a note that the true music behind the bars costs after them. true F: of the bars' hits or onsets against
the true ones. around F: of the first and the last bar against the bar before and behind. in chord: of the notes' time.
flux: share of the beats around with more spectral flux than the border at the end. Means, with 95 % intervals by the
bootstrap over edits, and the difference edit by edit.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bands import chart_of
from long import interval
from sessions import flux

from stage import BeatGrid, audio, machine
from stage.audio.files import to_mono
from stage.evaluation.figures.notes import part_f
from stage.generation.refill import AFTER, Filler, Region
from stage.generation.request import Recording, Request
from stage.instruments import stems as sounds
from stage.notes import Note
from stage.pipeline import Stage
from stage.session import check

STEMS = ("drums", "bass", "keys", "guitar")
AROUND = 4.0
"""Seconds around an edit that are sounded."""


def shifted(notes: Sequence[Note], start: float, end: float) -> list[Note]:
    """The notes that begin in a stretch, from its beginning."""
    return [n._replace(start=n.start - start, end=n.end - start) for n in notes if start - 0.03 <= n.start < end - 0.03]


class Part:
    """The true part of a song, and what fills it."""

    def __init__(self, path: Path, stem: str, model: Stage):
        song = json.loads(path.read_text(encoding="utf-8"))
        self.stem, self.seconds = stem, song["samples"] / song["rate"]
        others = [audio.read(file) for file in sorted(path.parent.glob("*.flac")) if file.stem != stem]
        self.grid = BeatGrid(np.array(song["beats"]), np.array(song["downbeat_numbers"])).crop(0.0, self.seconds)
        self.chart = chart_of(song, 0.0, self.seconds)
        mix = Recording(sum(to_mono(sound)[None] for sound, _ in others), others[0][1])
        request = model.complete(Request(stem, mix, grid=self.grid, chords=self.chart, tuning=0.0, rest=False))
        self.plan = model._plan(request, model.prepare(request))
        decoder, index = model.player(stem)
        size = model.events.window_beats * model.events.division
        self.filler = Filler(decoder, index, self.plan, None, model.sampling(stem=stem), size)
        self.notes = sorted(Note(*row) for row in song["notes"][stem])
        self.instrument = self.plan.events.instruments[0]

    def figures(self, made: Sequence[Note], region: Region, bars: np.ndarray) -> dict[str, float]:
        """Of a part whose region is made: bars are the region's edges, with those of a bar before and behind it."""
        drums, inside = self.stem == "drums", shifted(made, *region)
        found = {"true F": part_f(shifted(self.notes, *region), inside, drums)}
        pairs = ((bars[0], bars[1], bars[2]), (bars[-3], bars[-2], bars[-1]))
        found["around F"] = float(
            np.mean([part_f(shifted(made, a, b), shifted(made, b, c), drums) for a, b, c in pairs])
        )
        if (
            not drums
            and (share := check.in_chord(tuple(inside), self.chart.crop(*region).shift(-region[0]))) is not None
        ):
            found["in chord"] = share
        start = max(0.0, region[0] - AROUND)
        end, rate = min(self.seconds, region[1] + AROUND), 22050
        sound = sounds.sound(shifted(made, start, end), self.stem, self.instrument, rate, end - start, 0, channels=1)
        beats = [flux(sound, rate, beat - start) for beat in self.grid.times if start < beat < end]
        found["flux"] = float(np.mean(np.array(beats)[np.isfinite(beats)] > flux(sound, rate, region[1] - start)))
        return found

    def edit(self, chosen: random.Random, count: int, seed: int) -> dict | None:
        """Figures of one edit; None where there is nothing to play again, or nothing follows."""
        edges = self.grid.downbeats
        long = chosen.randint(1, 2)
        if len(edges) < long + 5:
            return None
        first = chosen.randint(2, len(edges) - long - 3)
        region = float(edges[first]), float(edges[first + long])
        bars = edges[first - 1 : first + long + 2]
        behind = float(
            self.plan.line.seconds(np.array(self.filler.frames(region)[1] + AFTER * self.plan.line.division))
        )
        after = shifted(self.notes, region[1], behind)
        if not after or not shifted(self.notes, *region):
            return None
        stays = [note for note in self.notes if self.filler.stays(note, region)]
        begun = time.process_time()
        codes, likely = self.filler.candidates(stays, self.instrument, region, [seed], count)
        spent = time.process_time() - begun
        rows = []
        for one, nats in zip(codes, likely.tolist()):
            new = self.filler.new(one, stays, self.instrument, region, self.seconds, 0, ())
            rows.append(self.figures(sorted([*stays, *new]), region, bars) | {"follows": -nats / len(after)})
        true = self.figures(self.notes, region, bars)
        return {"rows": rows, "best": int(likely.argmax()), "true": true, "spent": spent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a folder of songs, each with its song.json")
    parser.add_argument("--edits", type=int, default=96)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--model", default="player")
    parser.add_argument("--log", type=Path, help="a file that keeps what is done")
    asked = parser.parse_args()
    done = {}
    if asked.log is not None and asked.log.is_file():
        done = {row["edit"]: row for row in map(json.loads, asked.log.read_text(encoding="utf-8").splitlines())}
    model = Stage.from_pretrained(asked.model, "cpu")
    paths, number, rows = sorted(asked.corpus.rglob("song.json")), 0, []
    pairs = [(path, stem) for path in paths for stem in STEMS if (path.parent / f"{stem}.flac").is_file()]
    random.Random(0).shuffle(pairs)
    while len(rows) < asked.edits and number < len(pairs):
        if number not in done:
            made = Part(*pairs[number], model).edit(random.Random(number), asked.candidates, number)
            done[number] = {"edit": number, "stem": pairs[number][1], "made": made}
            if asked.log is not None:
                with asked.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done[number]) + "\n")
        rows += [done[number]] if done[number]["made"] else []
        number += 1
    print(f"{len(rows)} edits, {asked.candidates} candidates, {machine.describe()}\n")
    print("| stem | figure | chosen | any | true | chosen less any |\n| --- | --- | --- | --- | --- | --- |")
    for stem in (None, *STEMS):
        mine = [row["made"] for row in rows if stem in (None, row["stem"])]
        for figure in ("follows", "true F", "around F", "in chord", "flux") if mine else ():
            print(line(stem or "all", figure, mine))
    print(f"\nseconds of a core an edit: {np.median([row['made']['spent'] for row in rows]):.2f} (median)")


def line(stem: str, figure: str, rows: list[dict]) -> str:
    """A row of the table."""
    each = [([one[figure] for one in row["rows"] if figure in one], row) for row in rows]
    each = [(values, row) for values, row in each if len(values) == len(row["rows"]) and np.isfinite(values).all()]
    if len(each) < 2:
        return f"| {stem} | {figure} | - | - | - | - |"
    best = [values[row["best"]] for values, row in each]
    mean = [float(np.mean(values)) for values, _ in each]
    true = [row["true"][figure] for _, row in each if np.isfinite(row["true"].get(figure, np.nan))]
    cells = (cell(values) for values in (best, mean, true, [a - b for a, b in zip(best, mean)]))
    return f"| {stem} | {figure} | {' | '.join(cells)} |"


def cell(values: list[float]) -> str:
    """Mean and interval."""
    return "{:.3f} ({:.3f}..{:.3f})".format(*interval(values)) if values else "-"


if __name__ == "__main__":
    main()
