"""Do three minutes stay themselves? Drums, bass and keys at a tempo, to chords and a form; one JSON line.

    python benchmarks/long.py --pieces 6 --log long.jsonl

The form is eight bars of a verse and eight of a chorus in turn, so that verses can be compared with verses.
drift: how much later the onsets lie against the grid at the end than in the beginning, in milliseconds (a straight line
through their distances from the nearest sixteenth or third of a beat). tempo: the tracked tempo of the last quarter's
mix, in percent of that of the first. timbre: distance of the mean log spectra (24 bands, dB) of the last verse (chorus)
from the first; neighbours: the same of each from the one after it. pattern: one less the share of (sixteenth, pitch)
that two verses have in common, again of the last and the first, and of neighbours.
fills: share of the bars before a border in which drums have a fill, and of the other bars, as the form asks for them
(--border-fills), and without.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from stage import machine
from stage.audio.files import to_mono
from stage.beats.find import Tracking, find
from stage.beats.grid import BeatGrid
from stage.evaluation.figures.notes import fills
from stage.models.events import TimeLine
from stage.notes import Note
from stage.pipeline import Stage
from stage.session import Session, check
from stage.session.form import bands

STEMS = ("drums", "bass", "keys")
PART = 8
"""Bars of a section."""
CHORDS = ("Am F C G", "Dm7 G7 Cmaj7 Am7", "Em C G D", "Cm Ab Eb Bb", "F#m D A E", "Bm G D A")


def interval(values: list[float], seed: int = 0) -> list[float]:
    """[mean, lower, upper] with a 95 % interval by the bootstrap."""
    draws = np.random.default_rng(seed).choice(values, (2000, len(values))).mean(1)
    return [round(float(x), 3) for x in (np.mean(values), *np.percentile(draws, (2.5, 97.5)))]


def drift(notes: tuple[Note, ...], grid: BeatGrid, seconds: float) -> float:
    """Milliseconds from the beginning to the end by which onsets move against the grid."""
    line, starts = TimeLine.musical(grid, seconds, 12), np.array([note.start for note in notes])
    places = line.place(starts)
    off = np.stack([starts - line.seconds(np.round(places / step) * step) for step in (3, 4)])
    nearest = np.take_along_axis(off, np.abs(off).argmin(0)[None], 0)[0]
    near = np.abs(nearest) <= check.NEAR
    return float(np.polyfit(starts[near], nearest[near], 1)[0] * seconds * 1000)


def spectrum(audio: np.ndarray, rate: int, start: float, end: float) -> np.ndarray:
    """Mean of the log bands of a stretch, without its level."""
    levels = bands(to_mono(audio[:, round(start * rate) : round(end * rate)]), rate).mean(0)
    return levels - levels.mean()


def part_of(notes: tuple[Note, ...], start: float, end: float) -> tuple[Note, ...]:
    """The notes that begin within a stretch, from its beginning."""
    inside = (note for note in notes if start - 0.03 <= note.start < end - 0.03)
    return tuple(note._replace(start=note.start - start, end=note.end - start) for note in inside)


def compared(session: Session, stem: str, edges: np.ndarray) -> dict[str, list[float]]:
    """Distances of the last verse and chorus from the first, and of neighbours."""
    audio, notes, found = session.sound(stem), session.notes(stem), {}
    long = float(edges[1] - edges[0])
    beats = BeatGrid.regular(session.grid.bpm, 4, long + 1)
    parts = [(spectrum(audio, session.rate, a, b), part_of(notes, a, b)) for a, b in zip(edges, edges[1:])]
    for kind in (0, 1):
        mine = parts[kind::2]
        pairs = {"last": [(mine[0], mine[-1])], "neighbours": list(zip(mine, mine[1:]))}
        for name, several in pairs.items():
            for a, b in several:
                found.setdefault(f"timbre, {name}", []).append(float(np.sqrt(np.square(a[0] - b[0]).mean())))
                found.setdefault(f"pattern, {name}", []).append(check.distance(a[1], b[1], beats, long))
    return found


def filled(session: Session, track: str) -> dict[str, list[float]]:
    """Whether there is a fill, in the bars before a border and in the others."""
    edges = np.append(session.grid.downbeats, session.seconds)
    made = fills(session.notes(track), edges)
    last = {section.bar - 2 for section in session.time.sections if section.bar > 1}
    return {
        "border": [float(x) for i, x in enumerate(made) if i in last],
        "other": [float(x) for i, x in enumerate(made) if i not in last],
    }


def measured(model: Stage, seconds: float, seed: int) -> dict:
    """The figures of a piece."""
    chosen = random.Random(seed)
    bpm = chosen.randint(80, 140)
    bars = PART * 2 * round(seconds * bpm / 240 / (PART * 2))
    form = ", ".join(f"{'verse' if i % 2 == 0 else 'chorus'} {PART}" for i in range(bars // PART))
    with tempfile.TemporaryDirectory() as place:
        begun = time.perf_counter()
        session = Session.new(
            Path(place) / "s", bpm=bpm, bars=bars, chords=chosen.choice(CHORDS), form=form, model=model
        )
        session.band(STEMS, seed=seed)
        spent = time.perf_counter() - begun
        edges = np.linspace(0.0, session.seconds, bars // PART + 1)
        made: dict = {"seed": seed, "bpm": bpm, "seconds": round(session.seconds, 1), "made_in": round(spent, 1)}
        made["drift"] = {stem: drift(session.notes(stem), session.grid, session.seconds) for stem in STEMS}
        mix, quarter = session.mix(), session.seconds / 4
        ends = (mix[:, : round(quarter * session.rate)], mix[:, -round(quarter * session.rate) :])
        tempi = [grid.bpm for part in ends if (grid := find(part, session.rate, Tracking()).grid) is not None]
        if len(tempi) == 2:
            made["tempo"] = 100 * tempi[1] / tempi[0]
        made["parts"] = {stem: compared(session, stem, edges) for stem in STEMS}
        made["fills"] = filled(session, "drums")
        for name in STEMS:
            session.change(name, mute=True)
        made["plain"] = filled(session, session.add("drums", seed=seed, name="plain", border_fills=False).name)
        return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--model", default="player")
    parser.add_argument("--log", type=Path, help="a file that keeps what is done")
    asked = parser.parse_args()
    done, rows = {}, []
    if asked.log is not None and asked.log.is_file():
        done = {row["seed"]: row for row in map(json.loads, asked.log.read_text(encoding="utf-8").splitlines())}
    model = Stage.from_pretrained(asked.model, "cpu")
    with contextlib.suppress(KeyboardInterrupt):
        for seed in range(asked.pieces):
            if seed not in done:
                done[seed] = measured(model, asked.seconds, seed)
                if asked.log is not None:
                    with asked.log.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(done[seed]) + "\n")
            rows.append(done[seed])
    print(json.dumps({"model": asked.model, "machine": machine.describe(), "pieces": len(rows)} | figures(rows)))


def figures(rows: list[dict]) -> dict:
    """Means over pieces, with intervals."""
    made: dict = {f"drift of {stem}, ms": interval([row["drift"][stem] for row in rows]) for stem in STEMS}
    made["drift, largest, ms"] = round(max(abs(x) for row in rows for x in row["drift"].values()), 2)
    made["tempo, %"] = interval([row["tempo"] for row in rows if "tempo" in row])
    for stem in STEMS:
        for name in rows[0]["parts"][stem]:
            made[f"{stem}: {name}"] = interval([float(np.mean(row["parts"][stem][name])) for row in rows])
    for name, key in (("asked for", "fills"), ("not asked for", "plain")):
        for place in ("border", "other"):
            made[f"fills {name}, {place}"] = interval([float(np.mean(row[key][place])) for row in rows])
    return made


if __name__ == "__main__":
    main()
