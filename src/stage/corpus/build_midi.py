"""Renders songs from MIDI files to disk, in the layout of composed ones: every piece a folder."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from stage.corpus import midi_songs, presets, render, words
from stage.corpus.build import SPLITS, remove_old_temporaries, write
from stage.corpus.genres import GENRES
from stage.corpus.harmony import pick
from stage.corpus.midi_songs import Piece
from stage.corpus.score import STEMS
from stage.corpus.synth import RATE, Event, Renderer, check
from stage.data.roles import Names
from stage.errors import StageError
from stage.files import lock
from stage.parallel import results

GENRE = "instrumental"
"""Where no folder on the way to a file is called like one of our genres."""
SYNTH_BASS = 38
"""Program of a bass that a file plays on a lead or pad."""


def render_piece(piece: Piece, split: str, seed: int, renderer: Renderer) -> tuple[dict, dict[str, np.ndarray]]:
    """(song.json as a dict, stem -> float32 audio `[N]`) of a piece. It depends on nothing but the arguments and the
    soundfonts that are installed."""
    side, seconds = SPLITS.index(split), piece.seconds
    root = np.random.SeedSequence([seed, piece.song.digest, piece.number])
    playing, wording = (np.random.default_rng(s) for s in root.spawn(2))
    main = pick(playing, sorted(renderer.fonts))
    audio, about, played = {}, {}, {}
    for stem in (s for s in (*STEMS, "other") if s in piece.notes):
        signals, abouts = [], []
        for part, notes in zip(piece.song.parts[stem], piece.notes[stem]):
            own, colour = render.draws(playing, stem)
            events = [Event(*note) for note in notes]
            program = presets_of(stem, part.program)
            made = render.sound(own, colour, stem, events, program, main, side, seconds, renderer) if events else None
            if made:
                signals.append(made[0] * 10 ** (part.gain_db / 20) if stem == "other" else made[0])
                abouts.append(made[1])
        if signals:
            audio[stem], about[stem] = sum(signals), abouts[0]
            if len(abouts) > 1:
                about[stem]["words"] = sorted({word for one in abouts for word in one["words"]})
            played[stem] = [Event(*note) for notes in piece.notes[stem] for note in notes]
    meta = {"id": piece.id, "seed": [seed, piece.number], "split": split, "rate": RATE} | midi_songs.describe(piece)
    meta |= {"samples": int(round(seconds * RATE)), "stems": about, "credits": []}
    source = {"file": piece.song.path.name, "start": round(piece.start, 4), "left_out": piece.song.left_out}
    meta["source"] = source
    meta |= _words(meta, played, piece.song.path, wording)
    meta["notes"] = {stem: render.rows(events) for stem, events in played.items()}
    return meta, render.balanced(audio)


def presets_of(stem: str, program: int) -> Sequence[int]:
    """Programs (of drums: kits) for a part: its own where the stem has it."""
    if stem == "drums":
        return (program,) if program in presets.KITS else (0,)
    return (SYNTH_BASS,) if stem == "bass" and not 32 <= program < 40 else (program,)


def _words(meta: dict, played: dict[str, list[Event]], path: Path, rng: np.random.Generator) -> dict:
    """Density, genre, moods and captions."""
    beats = max(len(meta["beats"]), 1)
    density = {stem: _density(stem, events, beats) for stem, events in played.items()}
    folders = {part.lower().replace("_", " ").replace("-", " ") for part in path.parts[:-1]}
    genre = next((g.name for g in GENRES if g.name in folders), GENRE)
    overall = float(np.mean(list(density.values()) or [0.5]))
    mood = words.moods(rng, meta["tempo"], meta["meter"], meta["key"].split()[-1], overall, ())
    common = {"tempo": meta["tempo"], "meter": meta["meter"], "feel": meta["feel"], "genre": genre, "mood": mood}
    names = [one["words"][0] for one in meta["stems"].values()]
    return {
        "genre": genre,
        "moods": mood,
        "density": density,
        "captions": words.song_captions(rng, density=overall, key=meta["key"], instruments=names, **common),
        "stem_captions": {
            s: words.stem_captions(rng, s, density=density[s], instrument=one["words"][0], style=None, **common)
            for s, one in meta["stems"].items()
            if s in STEMS
        },
    }


def _density(stem: str, events: Sequence[Event], beats: int) -> float:
    """How full a stem is, 0..1, about as composed ones count it."""
    onsets = len(events) if stem == "drums" else len({round(e.start, 2) for e in events})
    low, high = (1.2, 6.2) if stem == "drums" else (0.2, 3.0)
    return round(float(np.clip((onsets / beats - low) / (high - low), 0.02, 0.98)), 3)


class _Files:
    """Renders the pieces of one file: called with its path; returns (new pieces, all pieces, what is wrong with it)."""

    def __init__(self, folder: str, seed: int, seconds: float, threads: int):
        self.folder, self.seed, self.seconds, self.names = Path(folder), seed, seconds, Names()
        self.renderer: Renderer | None = None  # loading its soundfonts takes seconds

    def __call__(self, path: Path) -> tuple[int, int, str]:
        split = self.folder.name
        try:
            song = midi_songs.read(path, self.names)
            if song.held_out != (split == "heldout"):
                return 0, 0, ""
            found = midi_songs.pieces(song, self.seconds)
        except StageError as error:
            return 0, 0, str(error)
        if not found:
            return 0, 0, f"{path} has no stretch in which two stems play on its beats"
        new = [piece for piece in found if not (self.folder / piece.id).is_dir()]
        if new and self.renderer is None:
            self.renderer = Renderer()
        for piece in new:
            meta, audio = render_piece(piece, split, self.seed, self.renderer)
            write(self.folder, meta, audio)
        return len(new), len(found), ""

    def close(self) -> None:
        if self.renderer:
            self.renderer.close()


def build_midi(
    root: str | Path,
    files: Sequence[Path],
    split: str = "train",
    seed: int = 1,
    seconds: float = 32.0,
    workers: int = 1,
    on_file: Callable[[int, int], None] | None = None,
) -> tuple[int, int, list[str]]:
    """Render the pieces of MIDI files that are not there yet: (new pieces, all pieces, what is wrong with which file).

    One file in ten, by its content, belongs to the split `heldout` and the others to `train`; files of the other split
    are passed over. on_file: called with the files that are done and all files. Raises StageError as `build`.
    """
    if split not in SPLITS:
        raise StageError(f"Unknown split {split!r}: choose one of {', '.join(SPLITS)}.")
    if workers < 1 or seed < 0 or not 4 <= seconds <= 600:
        raise StageError("Songs need at least one worker, a seed >= 0, and 4 to 600 seconds each.")
    check()
    folder, unique = Path(root) / split, _unique(files)
    report = on_file or (lambda done, total: None)
    new, there, wrong = 0, 0, []
    with lock(folder, "another `stage corpus`"):
        remove_old_temporaries(folder)
        report(0, len(unique))
        make = partial(_Files, str(folder), seed, seconds)
        with results(make, unique, workers, kept="the songs that are done are kept") as made:
            for done, (_, (some, every, why)) in enumerate(made, 1):
                new, there = new + some, there + every
                wrong += [why] if why else []
                report(done, len(unique))
    return new, there, sorted(wrong)


def _unique(files: Sequence[Path]) -> list[Path]:
    """Files whose content no file before has; those that cannot be read are kept, to be named."""
    seen: set[tuple[int, int]] = set()
    made = []
    for path in files:
        try:
            size = path.stat().st_size
            key = (size, zlib.crc32(path.read_bytes()) if size <= midi_songs.MOST_BYTES else hash(path))
        except OSError:
            made.append(path)
            continue
        if key not in seen:
            seen.add(key)
            made.append(path)
    return made
