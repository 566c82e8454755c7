"""What the player is measured on: stretches of held-out songs and of held-out drummers, with the true part of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stage import fingerprint
from stage.beats.grid import BeatGrid, beats_per_bar, division
from stage.corpus.grooves import Grooves, Performance
from stage.corpus.human_drums import STYLES
from stage.corpus.read import CorpusSong
from stage.errors import StageError
from stage.evaluation.acceptance.clips import ATTEMPTS, MixClip
from stage.evaluation.figures.harmony import Chord
from stage.evaluation.truth import Truth
from stage.models.playable import INSTRUMENTS, instrument_of
from stage.notes import Note

MOST_HITS = 40.0
"""Hits a second beyond which a performance is damaged."""
FEWEST = 4
"""Notes that a part and the busiest other part have in a clip."""


@dataclass(frozen=True)
class NamedChord(Chord):
    """A chord with its root (a pitch class) and its symbol."""

    root: int
    name: str


def chords_of(rows: Sequence[Mapping[str, Any]], start: float, seconds: float) -> tuple[NamedChord, ...]:
    """The chords of a song of the corpus that sound in a stretch of it, seconds from the stretch's beginning."""
    return tuple(
        NamedChord(row["start"] - start, row["end"] - start, frozenset(row["pitch_classes"]), row["root"], row["name"])
        for row in rows
        if row["pitch_classes"] and row["end"] > start and row["start"] < start + seconds
    )


def chord_at(chords: Sequence[NamedChord], seconds: float) -> NamedChord | None:
    """The chord that sounds at a moment."""
    return next((chord for chord in chords if chord.start <= seconds < chord.end), None)


@dataclass(frozen=True)
class PartClip:
    """A stretch of music that is to get a part, and the part that it has.

    truth: its beats, tempo and chords. notes: of the true part, seconds from the clip's beginning. instrument: of
    `stage.models.playable.INSTRUMENTS`. meter: like "6/8", in which `truth.bpm` counts dotted quarters.
    borders: where new sections begin, seconds. chords: those of `truth`, with their names.
    mix: the recording without the part; None: there is only a click.
    """

    key: str
    name: str
    stem: str
    seconds: float
    truth: Truth
    notes: tuple[Note, ...]
    instrument: str
    genre: str
    meter: str
    borders: tuple[float, ...] = ()
    chords: tuple[NamedChord, ...] = ()
    mix: MixClip | None = None

    @property
    def drums(self) -> bool:
        return self.stem == "drums"

    @property
    def bars(self) -> np.ndarray:
        """First beats of the whole bars, and of the one after them: float64 [n], seconds."""
        return self.truth.grid.downbeats

    @property
    def whole_bars(self) -> int:
        """Bars that cover the clip, from its beginning."""
        bar = beats_per_bar(self.meter) * 60 / self.truth.bpm
        return int(np.ceil(self.seconds / bar - 1e-6))

    def context(self, rate: int) -> np.ndarray:
        """The recording without the part: float32 [round(seconds * rate)]."""
        if self.mix is None:
            raise StageError(f"{self.name} is a part alone: there is no recording to it")
        return self.mix.context(rate)

    def to_bytes(self) -> bytes:
        """The same bytes for the same clip, for a digest."""
        about = (self.stem, self.seconds, self.notes, self.instrument, self.genre, self.meter, self.borders)
        return repr(about).encode() + self.truth.to_bytes()


def song_notes(song: CorpusSong, stem: str) -> list[Note]:
    """The notes of a stem of the corpus, seconds from the song's beginning. StageError where they are missing."""
    with song.checked():
        rows = song.meta.get("notes", {}).get(stem)
        if rows is None:
            raise StageError(f"{song.folder} has no notes of its {stem}: build the song again")
        return [Note(float(start), float(end), int(pitch), int(velocity)) for start, end, pitch, velocity in rows]


def cut(notes: Sequence[Note], start: float, seconds: float) -> tuple[Note, ...]:
    """Notes that begin in a stretch, seconds from its beginning; what is held beyond its end is cut."""
    return tuple(
        note._replace(start=note.start - start, end=min(note.end - start, seconds))
        for note in notes
        if start <= note.start < start + seconds
    )


def song_clips(songs: Sequence[CorpusSong], stem: str, count: int, seconds: float, seed: int) -> list[PartClip]:
    """Stretches at random places, song after song, in which the stem plays, others beside it, and four beats lie.

    Raises StageError when the songs do not give enough.
    """
    usable = [song for song in songs if len(_sounding(song)) > 1 and stem in _sounding(song) and song.seconds > seconds]
    if not usable:
        raise StageError(f'none of the {len(songs)} held-out songs has notes of "{stem}" and others beside it')
    order = np.random.default_rng([seed, 0]).permutation(len(usable))
    clips: list[PartClip] = []
    for turn in range(8 * count):
        song, rng = usable[order[turn % len(usable)]], np.random.default_rng([seed, 1, turn])
        for _ in range(ATTEMPTS):
            start = float(rng.uniform(0, song.seconds - seconds))
            there = {name: len(cut(song_notes(song, name), start, seconds)) for name in _sounding(song)}
            clip = MixClip(f"{len(clips):03d}", song, stem, start, seconds)
            if there.pop(stem) >= FEWEST and max(there.values()) >= FEWEST and len(clip.truth.grid) >= 4:
                clips.append(_of_mix(clip))
                break
        if len(clips) == count:
            return clips
    raise StageError(f'only {len(clips)} of {count} clips could be cut: the stem "{stem}" hardly plays in these songs')


def _sounding(song: CorpusSong) -> list[str]:
    """Stems that have notes and sound."""
    return [name for name in song.stems if song.meta.get("notes", {}).get(name)]


def click_clips(clips: Sequence[PartClip]) -> list[PartClip]:
    """The same songs from a downbeat on: the clip's first, or the one before where too little would be left of it."""
    made = []
    for clip in clips:
        assert clip.mix is not None
        song, downs = clip.mix.song, BeatGrid(clip.mix.song.beats, clip.mix.song.numbers).downbeats
        fitting = downs[downs <= song.seconds - clip.seconds]
        if not len(fitting):
            continue
        nearest = float(fitting[np.abs(fitting - clip.mix.start).argmin()])
        moved = _of_mix(replace(clip.mix, start=nearest))
        if moved.notes:
            made.append(replace(moved, mix=None))
    return made


def _of_mix(clip: MixClip) -> PartClip:
    song, start, seconds = clip.song, clip.start, clip.seconds
    with song.checked():
        meta = song.meta
        borders = tuple(s["start"] - start for s in meta["sections"] if start < s["start"] < start + seconds)
        genre, meter, about = meta["genre"], meta["meter"], meta["stems"][clip.stem]
    truth = clip.truth
    return PartClip(
        clip.key,
        clip.name,
        clip.stem,
        seconds,
        replace(truth, grid=replace(truth.grid, division=division(meter))),
        cut(song_notes(song, clip.stem), start, seconds),
        instrument_of(clip.stem, about) if clip.stem in INSTRUMENTS else "",
        genre,
        meter,
        borders,
        chords_of(meta["chords"], start, seconds),
        clip,
    )


# ---------------------------------------------------------------- drummers


def drummer_clips(grooves: Grooves, count: int, seconds: float, seed: int) -> list[PartClip]:
    """Stretches of the test split of the Groove MIDI Dataset, each from the first beat of a bar.

    Raises StageError where it cannot be read, or no performance of the split is long enough.
    """
    usable = [p for p in grooves.performances if p.held_out and not p.fill and p.seconds >= seconds + 2]
    if not usable:
        raise StageError(f"{grooves.path} has no performances of {seconds + 2:g} seconds in its test split")
    rng = np.random.default_rng([seed, 4])
    order = rng.permutation(len(usable))
    clips: list[PartClip] = []
    for turn in range(4 * count):
        if len(clips) == count:
            break
        performance = usable[order[turn % len(usable)]]
        clip = _of_performance(grooves, performance, f"{len(clips):03d}", seconds, rng)
        if clip is not None:
            clips.append(clip)
    return clips


def _of_performance(
    grooves: Grooves, performance: Performance, key: str, seconds: float, rng: np.random.Generator
) -> PartClip | None:
    """A stretch of a performance, which begins at the first beat of a bar; None where hardly anything is played."""
    beat = 60 / performance.bpm
    hits = [(b.number * performance.beats + at, k, v) for b in grooves.bars(performance) for at, k, v in b.hits]
    bars = int((performance.seconds - seconds) / (beat * performance.beats))
    start = beat * performance.beats * int(rng.integers(max(0, bars) + 1))
    played = [
        Note(float(at * beat), float(at * beat) + 0.1, int(pitch), int(np.clip(v, 1, 127)))
        for at, pitch, v in sorted(hits)
    ]
    notes = cut(played, start, seconds)
    if not seconds <= len(notes) <= MOST_HITS * seconds:
        return None
    truth = Truth(BeatGrid.regular(performance.bpm, performance.beats, seconds), performance.bpm)
    name, meter = f"{performance.id} from {start:.2f} s", f"{performance.beats}/4"
    return PartClip(key, name, "drums", seconds, truth, notes, "studio", genre_of(performance.style), meter)


def genre_of(style: str) -> str:
    """The genre of the corpus that a style of the data set fits best."""
    fits = {genre: (styles.get(style, 0.0), styles.get(style.split("/")[0], 0.0)) for genre, styles in STYLES.items()}
    return max(fits, key=lambda genre: fits[genre])


# ---------------------------------------------------------------- all of them


@dataclass(frozen=True)
class Settings:
    """How much is measured; the results of other settings are never mixed with these."""

    mixes: int = 48
    clicks: int = 32
    drummers: int = 48
    controls: int = 32
    prompts: int = 32
    speed: int = 5
    seconds: float = 10.0
    seed: int = 42
    examples: int = 3
    """Takes of each task that are kept as audio."""


@dataclass(frozen=True)
class PlayerMaterial:
    """All clips of an evaluation. stems: those of the model. grooves: the zip of human drummers, if there is one."""

    songs: tuple[CorpusSong, ...]
    settings: Settings
    stems: tuple[str, ...]
    grooves: Path | None = None

    @cached_property
    def mixes(self) -> dict[str, list[PartClip]]:
        """Of each stem that enough of the songs have."""
        own, found = self.settings, {}
        for stem in self.stems:
            if stem in INSTRUMENTS and any(song.meta.get("notes", {}).get(stem) for song in self.songs):
                found[stem] = song_clips(self.songs, stem, own.mixes, own.seconds, own.seed)
        if not found:
            raise StageError("none of the held-out songs has notes of a stem that the model plays: build them again")
        return found

    @cached_property
    def clicks(self) -> list[PartClip]:
        """Songs of which only the click is given."""
        return click_clips(self.mixes.get("drums", ())[: self.settings.clicks])

    @cached_property
    def drummers(self) -> list[PartClip]:
        """Human drummers, to whom only the click is given."""
        if self.grooves is None or "drums" not in self.stems:
            return []
        own = self.settings
        return drummer_clips(Grooves(self.grooves), own.drummers, own.seconds, own.seed)

    def of(self, task: str) -> list[PartClip]:
        """The clips of "mix STEM", "click" or "drummers"."""
        kind, _, stem = task.partition(" ")
        return {"click": self.clicks, "drummers": self.drummers}[kind] if kind != "mix" else self.mixes[stem]

    @property
    def tasks(self) -> list[str]:
        """Names that `of` takes, those that have clips."""
        names = [f"mix {stem}" for stem in self.mixes]
        return names + [name for name in ("click", "drummers") if self.of(name)]

    def fingerprint(self) -> str:
        """Digest of all clips and of the songs' sound."""
        clips = [clip.to_bytes() for task in self.tasks for clip in self.of(task)]
        return fingerprint.of_bytes(*clips, *(fingerprint.of_files(song.folder).encode() for song in self.songs))
