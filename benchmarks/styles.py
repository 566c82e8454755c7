"""What is a style in the prompt worth, and what is agreement among takes? A table, for songs of a corpus.

    python benchmarks/styles.py CORPUS --stems drums,bass --clips 24 --log styles.jsonl

Ten seconds of a song without a stem, on the beats that are tracked, as `stage accompany` plays to them; several takes
of each, with these prompts:

    none            no prompt
    genre           the song's genre and the stem, by the model's own guidance for prompts
    genre, close    the same, followed as closely as the music (text_guidance as guidance), which costs no branch more
    another, close  the genre of another song

F: of hits (drums) or onsets against the true part, within 50 ms; kick, snare: of these alone; repeats: each bar
against the bar before; fills: share of bars; the mean of a clip's takes. "chosen of N" is, for each clip, the take that
agrees best with the others (the highest mean F against them). milliseconds: processor time of all takes of a clip,
without their sound. Means, with 95 % intervals by the bootstrap over clips; "against" is the difference clip by clip.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from long import interval

from stage import machine
from stage.beats.find import find
from stage.beats.grid import BeatGrid
from stage.corpus.read import CorpusSong
from stage.errors import StageError
from stage.evaluation.acceptance.player.clips import PartClip, song_clips
from stage.evaluation.figures import notes as figures
from stage.generation.request import Request
from stage.generation.windows import play
from stage.notes import Note
from stage.pipeline import Stage

PROMPTS = ("none", "genre", "genre, close", "another, close")
FIGURES = ("F", "kick, snare", "repeats", "fills")
RATE, SECONDS = 32000, 10.0


def asked_for(clip: PartClip, other: str, guidance: float) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Name, prompt and sampling of each of `PROMPTS`. guidance: of the music."""
    close = {"text_guidance": guidance}
    yield "none", "", {}
    yield "genre", f"{clip.genre} {clip.stem}", {}
    yield "genre, close", f"{clip.genre} {clip.stem}", close
    yield "another, close", f"{other} {clip.stem}", close


def takes(model: Stage, clip: PartClip, grid: BeatGrid, prompt: str, sampling: dict, count: int) -> list[list[Note]]:
    """The notes of so many takes, without their sound."""
    seed = 1000 * int(clip.key)
    audio = clip.context(RATE)[None]
    request = model.complete(
        Request.recording(
            audio, RATE, clip.stem, prompt, variations=count, seed=seed, grid=grid, tuning="off", sampling=sampling
        )
    )
    prepared = model.prepare(request)
    plan = model._plan(request, prepared)
    made = model._sounding(request, prepared, plan).takes(play(**model._played(plan, request, None)))
    return [[note for note in take.notes if note.start < SECONDS] for take in made]


def scores(clip: PartClip, notes: Sequence[Note], bars: np.ndarray) -> dict[str, float]:
    """The figures of a take. bars: first beats of those that it was played to."""
    drums = clip.drums
    return {
        "F": figures.part_f(clip.notes, notes, drums),
        "kick, snare": figures.piece_f(clip.notes, notes, figures.KICK_SNARE) if drums else float("nan"),
        "repeats": figures.repetition(notes, bars, drums),
        "fills": float(np.mean(figures.fills(notes, bars))) if drums and len(bars) > 2 else float("nan"),
    }


def agreeing(made: Sequence[Sequence[Note]], drums: bool) -> int:
    """Which take agrees best with the others."""
    alike = [[figures.part_f(a, b, drums) if i != j else 0.0 for j, b in enumerate(made)] for i, a in enumerate(made)]
    return int(np.nan_to_num(np.array(alike)).sum(1).argmax())


def measured(model: Stage, clip: PartClip, other: str, count: int) -> dict[str, dict] | None:
    """The figures of a clip by prompt; None where no beats are found."""
    grid = find(clip.context(RATE), RATE).grid
    if grid is None:
        return None
    guidance = model.sampling(stem=clip.stem).guidance
    rows: dict[str, dict] = {}
    for name, prompt, sampling in asked_for(clip, other, guidance):
        started = time.process_time()
        made = takes(model, clip, grid, prompt, sampling, count)
        took = time.process_time() - started
        each = [scores(clip, notes, grid.downbeats) for notes in made]
        rows[name] = {
            "all": {figure: _mean([row[figure] for row in each]) for figure in FIGURES},
            "chosen": each[agreeing(made, clip.drums)],
            "milliseconds": 1000 * took,
        }
    return rows


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def table(rows: Sequence[dict[str, dict]], count: int) -> str:
    """A table of the clips of a stem."""

    def cells(first: Sequence[dict], second: Sequence[dict] | None = None) -> str:
        made = []
        for figure in FIGURES:
            values = np.array([row[figure] for row in first]) - (
                0 if second is None else np.array([row[figure] for row in second])
            )
            known = values[np.isfinite(values)]
            mean, low, high = interval(list(known)) if len(known) else (float("nan"),) * 3
            sign = "" if second is None else "+"
            made.append(f"{mean:{sign}.3f} ({low:{sign}.3f}..{high:{sign}.3f})" if len(known) else "-")
        return " | ".join(made)

    lines = [f"| prompt | {' | '.join(FIGURES)} | milliseconds |", f"| --- |{' --- |' * (len(FIGURES) + 1)}"]
    plain = [row["none"]["all"] for row in rows]
    for name in PROMPTS:
        own = [row[name]["all"] for row in rows]
        took = np.mean([row[name]["milliseconds"] for row in rows])
        lines.append(f"| {name} | {cells(own)} | {took:.0f} |")
        if name != "none":
            lines.append(f"| {name}, against none | {cells(own, plain)} | |")
    for name in PROMPTS[:2]:
        own, chosen = ([row[name][which] for row in rows] for which in ("all", "chosen"))
        lines.append(f"| {name}, chosen of {count}, against all | {cells(chosen, own)} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a folder of songs, each with its song.json")
    parser.add_argument("--stems", default="drums,bass")
    parser.add_argument("--clips", type=int, default=24, help="of each stem")
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--model", default="player")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--log", type=Path, help="a line for each clip")
    asked = parser.parse_args()
    songs = [CorpusSong(path.parent) for path in sorted(asked.corpus.rglob("song.json"))]
    if not songs:
        raise StageError(f"no songs in {asked.corpus}")
    model = Stage.from_pretrained(asked.model)
    for stem in asked.stems.split(","):
        clips = song_clips(songs, stem, asked.clips, SECONDS, asked.seed)
        genres, rows = sorted({clip.genre for clip in clips}), []
        for number, clip in enumerate(clips):
            others = [genre for genre in genres if genre != clip.genre] or genres
            if (row := measured(model, clip, others[7 * number % len(others)], asked.takes)) is not None:
                rows.append(row)
                if asked.log:
                    with open(asked.log, "a", encoding="utf-8") as log:
                        log.write(json.dumps({"stem": stem, "clip": clip.name, "genre": clip.genre, **row}) + "\n")
        print(f"\n{stem}, {len(rows)} clips, {machine.describe()}\n\n{table(rows, asked.takes)}", flush=True)


if __name__ == "__main__":
    main()
