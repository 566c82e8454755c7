"""Renders composed songs to disk: one folder a song, in parallel, resumable, repeatable.

On disk: ROOT/<split>/<song id>/song.json and one <stem>.flac (32 kHz, mono, 16 bit) for each stem
that plays. The stems add up to the mix.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from stage.audio.chroma import PITCH_CLASSES
from stage.corpus import presets, render, words
from stage.corpus.compose import VERSION, Song, compose
from stage.corpus.grooves import CREDIT, EARLY, Grooves
from stage.corpus.harmony import pick
from stage.corpus.human_drums import Drummers
from stage.corpus.synth import RATE, Event, Renderer, check
from stage.errors import StageError
from stage.files import lock, whole_folder
from stage.parallel import results

SPLITS = ("train", "heldout")


def song_id(split: str, seed: int, index: int) -> str:
    """The folder name of a song."""
    return f"{split}-{seed:04d}-{index:06d}"


def _events(rng: np.random.Generator, song: Song, stem: str, seconds: float) -> list[Event]:
    """Notes as seconds with humanised timing; what sounds before the start is cut off."""
    sigma, events = float(rng.uniform(0.003, 0.008)), []
    if song.genre.name in ("house", "techno", "trap", "synth pop", "drum and bass", "reggaeton", "disco"):
        sigma *= 0.4
    jitter = np.clip(rng.normal(0, sigma, size=len(song.notes[stem])), -0.02, 0.02)
    first = song.first_beat - 1e-6
    if stem == "drums" and song.take:  # a person's timing needs no more of it
        jitter, first = np.zeros_like(jitter), song.first_beat - EARLY
    for note, late in zip(song.notes[stem], jitter):
        if note.beat < first:
            continue
        start = max(song.played(stem, note.beat) + float(late), 0.0)
        end = song.played(stem, note.beat + note.length)
        if start < seconds:
            events.append(Event(start, max(end, start + 0.03), note.pitch, note.velocity))
    return events


def _render_stems(
    song: Song, rng: np.random.Generator, side: int, seconds: float, renderer: Renderer
) -> tuple[dict, dict, dict]:
    """Audio `[N]`, description and events of each stem that sounds."""
    main = pick(rng, sorted(renderer.fonts))
    audio, about, played = {}, {}, {}
    for stem in song.notes:
        own, colour = render.draws(rng, stem)
        events = _events(own, song, stem, seconds)
        programs = presets.of_genre(song.genre, stem)
        made = render.sound(own, colour, stem, events, programs, main, side, seconds, renderer) if events else None
        if made is None:
            continue
        audio[stem], about[stem] = made
        about[stem]["style"] = song.styles.get(stem, song.groove.name if stem == "drums" else None)
        if stem == "drums" and song.take:
            about[stem] |= {"style": song.take.about["style"], "performance": song.take.about}
        played[stem] = events
    return render.balanced(audio), about, played


def _chords(song: Song, seconds: float) -> list[dict]:
    """The harmony in seconds; where no pitched stem sounds there is none (N)."""
    spans = [(n.beat, n.beat + n.length) for s, notes in song.notes.items() if s != "drums" for n in notes]
    starts, ends = np.array([s for s, _ in spans] or [0.0]), np.array([e for _, e in spans] or [0.0])
    rows = []
    for chord in song.chords:
        start, end = max(song.seconds(chord.start), 0.0), min(song.seconds(chord.end), seconds)
        if end <= start + 1e-6:
            continue
        sounding = bool(np.any((starts < chord.end - 0.01) & (ends > chord.start + 0.01)))
        rows.append(
            {
                "start": round(start, 5),
                "end": round(end, 5),
                "name": chord.name if sounding else "N",
                "root": chord.root if sounding else None,
                "pitch_classes": list(chord.pitch_classes) if sounding else [],
            }
        )
    return rows


def _beats(song: Song, seconds: float) -> tuple[list[float], list[int]]:
    spb = 60.0 / song.tempo
    count = int(np.ceil((seconds - song.offset) / spb))
    times = [round(song.offset + i * spb, 6) for i in range(count)]
    return times, [(song.first_beat + i) % song.metre.beats + 1 for i in range(count)]


def describe(song: Song, about: dict, seconds: float, rng: np.random.Generator) -> dict:
    """song.json without its identity: the truth about a song, and words for it."""
    times, numbers = _beats(song, seconds)
    bar = song.metre.beats
    density = {s: song.density[s] for s in about}
    overall = float(np.mean(list(density.values())))
    key = f"{PITCH_CLASSES[song.key]} {song.mode}"
    mood = words.moods(rng, song.tempo, song.metre.name, song.mode, overall, song.genre.moods)
    common = {"tempo": song.tempo, "meter": song.metre.name, "feel": song.feel, "genre": song.genre.name, "mood": mood}
    sections = [
        {
            "start": round(max(song.seconds(s.start * bar), 0.0), 5),
            "end": round(min(song.seconds((s.start + s.bars) * bar), seconds), 5),
            "kind": s.kind,
            "energy": round(s.energy, 3),
        }
        for s in song.sections
    ]
    return {
        "rate": RATE,
        "samples": int(round(seconds * RATE)),
        "tempo": song.tempo,
        "meter": song.metre.name,
        "feel": song.feel,
        "swing": song.swing,
        "genre": song.genre.name,
        "moods": mood,
        "key": key,
        "density": density,
        "beats": times,
        "downbeat_numbers": numbers,
        "chords": _chords(song, seconds),
        "sections": [s for s in sections if s["end"] > s["start"]],
        "stems": about,
        "captions": words.song_captions(
            rng, density=overall, key=key, instruments=[a["words"][0] for a in about.values()], **common
        ),
        "stem_captions": {
            s: words.stem_captions(rng, s, density=density[s], instrument=a["words"][0], style=a["style"], **common)
            for s, a in about.items()
        },
    }


def render_song(
    split: str, seed: int, index: int, seconds: float, renderer: Renderer, drummers: Drummers | None = None
) -> tuple[dict, dict[str, np.ndarray]]:
    """Composes and renders song `index`: (song.json as a dict, stem -> float32 audio `[N]`).

    It depends on nothing but the arguments and the soundfonts that are installed. drummers: performances that play some
    songs' drums; without them the other songs are the same.
    """
    side = SPLITS.index(split)
    root = np.random.SeedSequence([seed, side, index])
    writing, playing, wording = (np.random.default_rng(s) for s in root.spawn(3))
    song = compose(writing, seconds, side, drummers)
    audio, about, played = _render_stems(song, playing, side, seconds, renderer)
    identity = {"id": song_id(split, seed, index), "seed": [seed, index], "split": split, "composer": VERSION}
    meta = identity | describe(song, about, seconds, wording)
    meta["credits"] = [CREDIT] if "performance" in about.get("drums", {}) else []
    meta["notes"] = {stem: render.rows(events) for stem, events in played.items()}
    return meta, audio


class _Songs:
    """Renders songs of one build to disk: called with a song's index. One renderer serves all songs of a process."""

    def __init__(self, folder: str, seed: int, seconds: float, grooves: str | None, share: float, threads: int):
        self.folder, self.seed, self.seconds = Path(folder), seed, seconds
        self.drummers = Drummers(Grooves(grooves), share) if grooves else None
        self.renderer = Renderer()

    def __call__(self, index: int) -> None:
        meta, audio = render_song(self.folder.name, self.seed, index, self.seconds, self.renderer, self.drummers)
        write(self.folder, meta, audio)

    def close(self) -> None:
        self.renderer.close()


def write(folder: Path, meta: dict, audio: dict[str, np.ndarray]) -> None:
    """Write a song's folder into that of its split, whole or not at all."""
    with whole_folder(folder / meta["id"]) as new:
        for stem, signal in audio.items():
            coded = io.BytesIO()  # libsndfile does not report a full disk
            soundfile.write(coded, signal, RATE, format="FLAC", subtype="PCM_16")
            (new / f"{stem}.flac").write_bytes(coded.getvalue())
        (new / "song.json").write_text(json.dumps(meta), encoding="utf-8")


def build(
    root: str | Path,
    split: str = "train",
    songs: int = 1000,
    seed: int = 1,
    seconds: float = 32.0,
    workers: int = 1,
    first: int = 0,
    on_song: Callable[[int, int], None] | None = None,
    grooves: str | Path | None = None,
    share: float = 0.5,
) -> int:
    """Render songs `first` .. `first + songs - 1` that are not there yet; returns how many it made.

    Finished songs are skipped, so that an interrupted build goes on where it was. on_song: called with the songs that
    are there and all songs, at the start and after each song. grooves: the Groove MIDI Dataset's ZIP, whose
    performances are the drums of a `share` of the songs that one fits (`human_drums.py`).
    Raises StageError for a bad range, an unknown split, a folder that cannot be written or that another build works
    in, missing system packages, or a worker that was killed.
    """
    if split not in SPLITS:
        raise StageError(f"Unknown split {split!r}: choose one of {', '.join(SPLITS)}.")
    if songs < 1 or workers < 1 or seed < 0 or not 4 <= seconds <= 600:
        raise StageError("The corpus needs at least one song and one worker, a seed >= 0, and 4 to 600 seconds a song.")
    if not 0 <= share <= 1:
        raise StageError(f"The share of songs with drums by people is between 0 and 1, not {share:g}.")
    if grooves is not None:
        Grooves(grooves)  # what is wrong with it is said before anything is made
    check()
    folder = Path(root) / split
    with lock(folder, "another `stage corpus`"):
        remove_old_temporaries(folder)
        todo = [i for i in range(first, first + songs) if not (folder / song_id(split, seed, i)).is_dir()]
        done = songs - len(todo)
        report = on_song or (lambda done, total: None)
        report(done, songs)
        with results(
            partial(_Songs, str(folder), seed, seconds, str(grooves) if grooves is not None else None, share),
            todo,
            workers,
            kept="the songs that are done are kept",
            label=lambda index: song_id(split, seed, index),
        ) as made:
            for _ in made:
                done += 1
                report(done, songs)
    return len(todo)


def remove_old_temporaries(folder: Path) -> None:
    """Remove what killed builds of earlier versions left: .SONG-ID.PID"""
    for path in folder.glob(f".{folder.name}-*.*"):
        if re.fullmatch(rf"\.{folder.name}-\d{{4,}}-\d{{6,}}\.\d+", path.name):
            shutil.rmtree(path, ignore_errors=True)
