"""Figures of sessions, one JSON line: random edits of regions, and processes that are killed at random moments.

    python benchmarks/sessions.py --edits 100 --kills 200
    python benchmarks/sessions.py --edits 1000 --kills 0 --bars 4 --model runs/model --log edits.jsonl

edits: regions of tracks are played anew, chosen at random: one to three, by bars or seconds, also beyond the end; each
20 of them in a piece of its own (tempo, metre, chords, stems). What is counted: samples and notes outside that are
others than before. With --log what is done is kept, and the same command goes on from there.
seams: spectral flux at the borders of the regions, as the share of the piece's own beats that have more of it (0.5:
like a usual beat, 0: more than all of them), and at the same places before the edit.
kills: a process changes a session at random (tracks, takes, regions, balance, undo) until it is killed (SIGKILL). Each
time the session is opened: its files are whole, and the last step that was finished is there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from stage import StageError, machine
from stage.pipeline import Stage
from stage.session import Session

FRAME = 0.02
"""Seconds of a spectrum of the flux."""


def flux(audio: np.ndarray, rate: int, at: float) -> float:
    """Rise of the magnitudes of a spectrum from just before a moment to just after it, summed; [C, N]."""
    size = round(FRAME * rate)
    middle = round(at * rate)
    if middle < size or middle + size > audio.shape[1]:
        return float("nan")
    window = np.hanning(size)
    before, after = (np.abs(np.fft.rfft(audio[:, a : a + size].mean(0) * window)) for a in (middle - size, middle))
    return float(np.maximum(np.sqrt(after) - np.sqrt(before), 0).sum())


def interval(values: list[float], seed: int = 0) -> tuple[float, float, float]:
    """(mean, lower, upper) with a 95 % interval by the bootstrap."""
    found = np.array(values)
    draws = np.random.default_rng(seed).choice(found, (2000, len(found))).mean(1)
    return tuple(round(float(x), 3) for x in (found.mean(), *np.percentile(draws, (2.5, 97.5))))


def regions_of(chosen: random.Random, session: Session) -> dict:
    """Random arguments of `Session.redo`."""
    bars = len(session.grid.downbeats)
    if chosen.random() < 0.7:
        firsts = [chosen.randint(1, bars) for _ in range(chosen.randint(1, 3))]
        return {"bars": [(first, first + chosen.randint(0, 2)) for first in firsts]}
    starts = [chosen.uniform(0, session.seconds - 0.1) for _ in range(chosen.randint(1, 2))]
    return {"seconds": [(start, start + chosen.uniform(0.3, 4.0)) for start in starts]}


PIECE = 20
"""Edits of one piece; then another piece is made."""
CHORDS = ("Am F C G", "Dm7 G7 Cmaj7", "E", "Cm Ab Bb", "F#m D A E")


@dataclass
class Edits:
    """What was counted of edits: the flux ranks of the borders, after the edit and at the same places before it."""

    edits: int = 0
    samples: int = 0
    notes: int = 0
    seams: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)

    def figures(self) -> dict:
        """The figures of all edits."""
        made = {"edits": self.edits, "samples_changed_outside": self.samples, "notes_changed_outside": self.notes}
        if not self.seams:
            return made
        made |= {"borders": len(self.seams), "beats_with_more_flux": interval(self.seams)}
        made |= {"beats_with_more_flux_before": interval(self.before)}
        most, least = ([float(rank == 0) for rank in ranks] for ranks in (self.seams, self.before))
        return made | {"more_than_all_beats": interval(most), "more_than_all_beats_before": interval(least)}

    def add(self, other: Edits) -> None:
        """Those of another piece too."""
        self.edits += other.edits
        self.samples += other.samples
        self.notes += other.notes
        self.seams += other.seams
        self.before += other.before


def edit(session: Session, chosen: random.Random, seed: int, found: Edits) -> None:
    """One random edit of a session, and what is counted of it. Half of them are undone."""
    track = chosen.choice(session.tracks).name
    before, notes = session.sound(track), session.notes(track)
    session.redo(track, **regions_of(chosen, session), candidates=chosen.choice((1, 2, 4)), seed=seed)
    after, now = session.sound(track), session.notes(track)
    parts = session.book.takes[session.track(track).kept].recipe.regions
    moments = np.arange(before.shape[1]) / session.rate
    inside = np.any([(moments >= a - 1e-9) & (moments < b - 1e-9) for a, b in parts], axis=0)
    found.edits += 1
    found.samples += int((before != after)[:, ~inside].any(0).sum())
    old, new = ({n for n in played if not any(a <= n.start < b for a, b in parts)} for played in (notes, now))
    found.notes += len(old ^ new)
    own = np.array([flux(before, session.rate, beat) for beat in session.grid.times[1:]])
    for border in {border for part in parts for border in part if 0.1 < border < session.seconds - 0.1}:
        for sound, ranks in ((before, found.before), (after, found.seams)):
            ranks.append(float((own > flux(sound, session.rate, border)).mean()))
    if chosen.random() < 0.5:
        session.undo()


def piece(model: Stage, bars: int, seed: int, many: int) -> Edits:
    """Edits of one piece: drums and two of bass, keys, guitar and pads, at a tempo, in a metre and to chords that are
    drawn by the seed."""
    chosen, found = random.Random(seed), Edits()
    with tempfile.TemporaryDirectory() as place:
        session = Session.new(
            Path(place) / "s",
            bpm=chosen.randint(70, 170),
            meter=chosen.choice(("4/4", "4/4", "4/4", "3/4", "6/8")),
            bars=bars,
            chords=chosen.choice(CHORDS),
            model=model,
        )
        session.band(("drums", *chosen.sample(("bass", "keys", "guitar", "pads"), 2)), seed=seed)
        for number in range(many):
            edit(session, chosen, PIECE * seed + number, found)
    return found


def edits(model: Stage, many: int, bars: int, seed: int, log: Path | None) -> dict:
    """Random edits of piece after piece; what changed outside, and the seams. Ctrl-C ends them. log: a file to which
    each piece is added, and whose pieces are not made again."""
    done, whole = {}, Edits()
    if log is not None and log.is_file():
        done = {row["piece"]: row for row in map(json.loads, log.read_text(encoding="utf-8").splitlines())}
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(-(-many // PIECE)):
            row = {"piece": seed * 1000 + number, "bars": bars, "many": min(PIECE, many - number * PIECE)}
            found = done.get(row["piece"])
            if found is None or any(found[key] != value for key, value in row.items()):
                found = row | asdict(piece(model, bars, row["piece"], row["many"]))
                if log is not None:
                    with log.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(found) + "\n")
            whole.add(Edits(**{key: value for key, value in found.items() if key not in row}))
    return whole.figures()


def work(folder: Path, model: Stage, seed: int, told: int) -> None:
    """Change a session until the end; after each step the number of changes is written to the pipe."""
    chosen, session = random.Random(seed), Session.open(folder, model)
    while True:
        names = [track.name for track in session.tracks]
        with contextlib.suppress(StageError):  # nothing to undo, or a track that is locked
            act = chosen.choice(("keep", "change", "undo", "redo-step", "take", "redo", "add", "remove", "lock"))
            name = chosen.choice(names) if names else ""
            if act == "add" or not names:
                if len(names) < 3:
                    session.add(chosen.choice(("drums", "bass")), seed=chosen.randint(0, 99))
            elif act == "keep":
                session.keep(name, chosen.choice(session.track(name).takes))
            elif act == "change":
                session.change(name, gain=chosen.uniform(-6, 6), mute=chosen.random() < 0.3)
            elif act == "lock":
                session.change(name, lock=not session.track(name).lock)
            elif act == "undo":
                session.undo()
            elif act == "redo-step":
                session.redo_step()
            elif act == "take":
                session.take(name)
            elif act == "redo":
                session.redo(name, bars=1, candidates=1)
            elif len(names) > 1:
                session.remove(name)
        os.write(told, f"{session.book.changes}\n".encode())


def kills(model: Stage, many: int, seed: int, longest: float) -> dict:
    """Kill a process that works in a session, again and again; how often it did not open, or had lost a step."""
    chosen, broken, lost, steps = random.Random(seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "s"
        Session.new(folder, bpm=160, bars=2, chords="Am F", rate=22050, model=model).add("drums")
        for number in range(many):
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                try:
                    work(folder, model, seed * 100_003 + number, writer)
                finally:
                    os._exit(1)
            os.close(writer)
            time.sleep(chosen.uniform(0.0, longest))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            assert os.WTERMSIG(status) == signal.SIGKILL, "the process ended by itself"
            said = b""
            while part := os.read(reader, 65536):
                said += part
            os.close(reader)
            finished = [int(line) for line in said.split(b"\n")[:-1]]
            steps += len(finished)
            try:
                session = Session.open(folder, model)
                broken += bool(session.verify(again=False))
                lost += bool(finished) and session.book.changes < finished[-1]
            except StageError as error:
                print(error, file=sys.stderr)
                broken += 1
    return {"kills": many, "finished_steps": steps, "did_not_open_whole": broken, "lost_a_step": lost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--bars", type=int, default=8, help="of the piece that is edited")
    parser.add_argument("--longest", type=float, default=3.0, help="seconds until a process is killed, at most")
    parser.add_argument("--model", default="player")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="a file that keeps what is done, for --edits")
    asked = parser.parse_args()
    model = Stage.from_pretrained(asked.model, "cpu")
    made: dict = {"model": asked.model, "machine": machine.describe()}
    begun = time.perf_counter()
    if asked.edits:
        made |= edits(model, asked.edits, asked.bars, asked.seed, asked.log)
    if asked.kills:
        made |= kills(model, asked.kills, asked.seed, asked.longest)
    print(json.dumps(made | {"seconds": round(time.perf_counter() - begun, 1)}))


if __name__ == "__main__":
    main()
