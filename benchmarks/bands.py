"""Does a band that is stacked belong together? A table, for songs of `stage corpus` that have drums, bass and keys.

    python benchmarks/bands.py CORPUS --songs 12 --log bands.jsonl

To the beats of each song a band is made: *stacked*, each stem to those before it (`stage band`), and *alone*, each to
the beats without the others; both with the song's chords and without any. *true* is the song's own band.
coherence: our scorer, each stem against the sum of the others. bass with kick: share of the bass's onsets within 40 ms
of one of the kick's. bass in keys: share of the time in which both sound that the bass plays a pitch class of the keys.
Means, with 95 % intervals by the bootstrap over songs; and how much more of it a stacked band has than the same stems
made alone and than the true band, song by song. Ctrl-C ends it, with the songs so far; with --log what is done is kept,
and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from stage import BeatGrid, audio, machine
from stage.audio.files import to_mono
from stage.chords.chart import Chart, Span
from stage.chords.symbols import parse
from stage.evaluation.coherence import scorer
from stage.notes import Note
from stage.pipeline import Stage
from stage.session import Session

STEMS = ("drums", "bass", "keys")
STEP = 2
"""Lengths of a stretch from the beginning of one to that of the next."""
KICK = (35, 36)
NEAR = 0.04
PAIRS = (
    ("stacked, chords given", "alone, chords given"),
    ("stacked, no chords", "alone, no chords"),
    ("stacked, chords given", "true"),
    ("stacked, no chords", "true"),
)
"""Bands that are compared song by song."""
Band = tuple[dict[str, np.ndarray], dict[str, list[Note]], int]
"""Sound [N] and notes of each stem, and the rate."""


def figures(band: Band, model: scorer.Scorer) -> dict[str, float]:
    """The figures of a band."""
    sounds, notes, rate = band
    scores = [
        scorer.score(sounds[stem], sum(sounds[other] for other in STEMS if other != stem), rate, model)
        for stem in STEMS
    ]
    kicks = np.array([note.start for note in notes["drums"] if note.pitch in KICK])
    basses = np.array([note.start for note in notes["bass"]])
    made = {"coherence": float(np.mean(scores))}
    if len(kicks) and len(basses):
        made["bass with kick"] = float((np.abs(basses[:, None] - kicks).min(1) <= NEAR).mean())
    both = inside = 0
    for moment in np.arange(0.0, max((note.end for note in notes["bass"]), default=0.0), 0.02):
        low = {n.pitch % 12 for n in notes["bass"] if n.start <= moment < n.end}
        keys = {n.pitch % 12 for n in notes["keys"] if n.start <= moment < n.end}
        both += bool(low and keys)
        inside += bool(low & keys)
    if both:
        made["bass in keys"] = inside / both
    return made


def made(model: Stage, grid: BeatGrid, chart: Chart | None, stacked: bool, seed: int) -> Band:
    """A band to these beats."""
    with tempfile.TemporaryDirectory() as place:
        session = Session.new(Path(place) / "s", grid=grid, chords=chart, model=model)
        for stem in STEMS:
            session.add(stem, seed=seed)
            if not stacked:
                session.change(stem, mute=True)
        sounds = {stem: to_mono(session.sound(stem)) for stem in STEMS}
        return sounds, {stem: list(session.notes(stem)) for stem in STEMS}, session.rate


def true(folder: Path, song: dict, start: float, seconds: float) -> Band:
    """The song's own band."""
    sounds, notes = {}, {}
    for stem in STEMS:
        sound, rate = audio.read(folder / f"{stem}.flac", start, seconds)
        sounds[stem] = to_mono(sound)
        played = (Note(*row) for row in song["notes"][stem] if start <= row[0] < start + seconds)
        notes[stem] = [note._replace(start=note.start - start, end=note.end - start) for note in played]
    return sounds, notes, rate


def chart_of(song: dict, start: float, seconds: float) -> Chart:
    """The chords of a stretch of a song."""
    rows = [row for row in song["chords"] if row["start"] < start + seconds]
    spans = (Span(row["start"], row["end"], parse(row["name"])) for row in rows)
    return Chart(tuple(spans)).crop(start, start + seconds)


def songs(corpus: Path) -> list[Path]:
    """The songs that have all three stems."""
    there = sorted(corpus.rglob("song.json"))
    return [path for path in there if all((path.parent / f"{stem}.flac").is_file() for stem in STEMS)]


def measured(
    path: Path, start: float, seconds: float, model: Stage, judge: scorer.Scorer, seed: int
) -> dict[str, dict[str, float]]:
    """The figures of the bands of a stretch of a song, by name."""
    song = json.loads(path.read_text(encoding="utf-8"))
    grid = BeatGrid(np.array(song["beats"]), np.array(song["downbeat_numbers"])).crop(start, start + seconds)
    chart = chart_of(song, start, seconds)
    bands = {
        "stacked, chords given": made(model, grid, chart, True, seed),
        "alone, chords given": made(model, grid, chart, False, seed),
        "stacked, no chords": made(model, grid, None, True, seed),
        "alone, no chords": made(model, grid, None, False, seed),
        "true": true(path.parent, song, start, seconds),
    }
    return {name: figures(band, judge) for name, band in bands.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a folder of songs, each with its song.json")
    parser.add_argument("--songs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=16.0)
    parser.add_argument("--stretches", type=int, default=1, help="of each song, two lengths apart")
    parser.add_argument("--model", default="player")
    parser.add_argument("--log", type=Path, help="a file that keeps what is done")
    asked = parser.parse_args()
    model, judge, begun = Stage.from_pretrained(asked.model, "cpu"), scorer.load(), time.perf_counter()
    done = {}
    if asked.log is not None and asked.log.is_file():
        done = {row["song"]: row for row in map(json.loads, asked.log.read_text(encoding="utf-8").splitlines())}
    found: list[dict[str, dict[str, float]]] = []
    with contextlib.suppress(KeyboardInterrupt):
        for number, path in enumerate(songs(asked.corpus)[: asked.songs]):
            parts = []
            for stretch in range(asked.stretches):
                key = f"{path.parent.name}@{stretch}" if stretch else path.parent.name
                if key not in done:
                    start = stretch * STEP * asked.seconds
                    bands = measured(path, start, asked.seconds, model, judge, 100 * stretch + number)
                    done[key] = {"song": key, "bands": bands}
                    if asked.log is not None:
                        with asked.log.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(done[key]) + "\n")
                parts.append(done[key]["bands"])
            found.append(mean(parts))
    part = f"{asked.stretches} x {asked.seconds:g} s of each"
    print(f"{len(found)} songs, {part}, {machine.describe()}, {time.perf_counter() - begun:.0f} s\n")
    names = ("coherence", "bass with kick", "bass in keys")
    print(f"| band | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    for band in found[0] if found else ():
        print(f"| {band} | {' | '.join(cell([row[band][n] for row in found if n in row[band]]) for n in names)} |")
    for more, less in PAIRS:
        pairs = ([row[more][n] - row[less][n] for row in found if n in row[more] and n in row[less]] for n in names)
        print(f"| {more}, less {less} | {' | '.join(map(cell, pairs))} |")


def mean(parts: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The figures of a song: means over its stretches."""
    made: dict[str, dict[str, float]] = {}
    for band in parts[0]:
        names = {name for part in parts for name in part[band]}
        made[band] = {name: float(np.mean([p[band][name] for p in parts if name in p[band]])) for name in names}
    return made


def cell(values: list[float]) -> str:
    """Mean and interval."""
    if not values:
        return ""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return f"{np.mean(values):.2f} ({low:.2f}..{high:.2f})"


if __name__ == "__main__":
    main()
