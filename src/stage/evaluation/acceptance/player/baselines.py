"""Two baselines without a model, on the same sampler: a fixed pattern of the genre, and the nearest part of training
songs. Both lie on a grid of beats, and are given what a model has to find: the genre, the metre and the true chords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stage.beats.grid import BeatGrid
from stage.corpus import drums as kit
from stage.corpus.genres import GENRES, Genre
from stage.corpus.read import CorpusSong
from stage.corpus.score import METRES
from stage.evaluation.acceptance.player.clips import NamedChord, PartClip, chord_at, chords_of, song_notes
from stage.evaluation.figures.harmony import Chord
from stage.models.playable import INSTRUMENTS, instrument_of
from stage.notes import Note

PLAYED = 5
"""Chance, of 9, from which a step of the genre's pattern is played."""
HAT, ACCENT, LOUD = 62, 78, 100
"""Velocities of the fixed pattern: the hat, the hat on beats, kick and snare."""
LOWEST = {"bass": 33, "keys": 55, "guitar": 50, "pads": 53}
"""Lowest pitch of the fixed pattern's chords, an octave of which it uses."""
ROUNDING, SHORTEST = 1e-6, 0.03
"""Seconds: of errors of rounding, and of the shortest note."""
OTHER_GENRE = 1.0
"""Octaves of tempo that a part of another genre must be nearer to be taken."""


@dataclass(frozen=True)
class Part:
    """What a baseline plays: notes in seconds from the clip's beginning, on an instrument of the stem."""

    notes: tuple[Note, ...]
    instrument: str


# ---------------------------------------------------------------- time


@dataclass(frozen=True)
class Beats:
    """A grid that goes on beyond its first and last beat. Places count beats from its first one."""

    grid: BeatGrid

    @classmethod
    def of(cls, grid: BeatGrid | None) -> Beats:
        """A regular grid stands in for one of fewer than two beats."""
        return cls(grid if grid is not None and len(grid) > 1 else BeatGrid.regular(120, 4, 60.0))

    def seconds(self, places: np.ndarray) -> np.ndarray:
        """Of places, with fractions."""
        return _line(places, np.arange(len(self.grid)), self.grid.times)

    def places(self, seconds: np.ndarray) -> np.ndarray:
        """Of seconds, the inverse of `seconds`."""
        return _line(seconds, self.grid.times, np.arange(len(self.grid)))

    def covering(self, seconds: float) -> list[tuple[int, int]]:
        """(place, number in the bar) of the beats that a stretch from 0 touches."""
        first, last = self.places(np.array([0.0, seconds]))
        bar, numbers = max(1, self.grid.beats_per_bar), self.grid.numbers
        found = []
        for place in range(int(np.floor(first + 1e-6)), int(np.ceil(last - 1e-6))):
            inside = min(max(place, 0), len(numbers) - 1)
            found.append((place, int((numbers[inside] - 1 + place - inside) % bar + 1)))
        return found


def _line(x: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Linear interpolation of which the first and last piece go on."""
    x = np.asarray(x, np.float64)
    piece = np.clip(np.searchsorted(xs, x, side="right") - 1, 0, len(xs) - 2)
    return ys[piece] + (x - xs[piece]) * (ys[piece + 1] - ys[piece]) / (xs[piece + 1] - xs[piece])


def _inside(notes: Sequence[Note], seconds: float) -> tuple[Note, ...]:
    """Notes that begin in a stretch from 0, in order."""
    kept = [note for note in notes if -ROUNDING <= note.start < seconds - ROUNDING]
    return tuple(sorted(n._replace(start=max(n.start, 0.0), end=max(n.end, n.start + SHORTEST)) for n in kept))


# ---------------------------------------------------------------- a fixed pattern


def fixed(clip: PartClip, grid: BeatGrid | None) -> Part:
    """The same bar over and over: the genre's pattern where it is likely, and on pitched stems the sounding chords."""
    genre = next((g for g in GENRES if g.name == clip.genre), GENRES[0])
    pattern, sub = _pattern(genre, clip.meter)
    beats = Beats.of(grid)
    if clip.drums:
        notes = _drums(pattern, sub, beats, clip.seconds)
    else:
        notes = _chords(clip, pattern, sub, beats)
    return Part(_inside(notes, clip.seconds), _usual(genre, clip.stem))


def _pattern(genre: Genre, meter: str) -> tuple[kit.Pattern, int]:
    """The genre's first pattern of a metre (another genre's where it has none), and its steps a beat."""
    meter = meter if meter in kit.PATTERNS else "4/4"
    known = kit.PATTERNS[meter]
    name = next((name for name in genre.grooves if name in known), next(iter(known)))
    return known[name], METRES[meter].sub


def _usual(genre: Genre, stem: str) -> str:
    """The genre's first instrument of a stem."""
    programs = {
        "drums": genre.kits,
        "bass": genre.bass_programs,
        "keys": genre.key_programs,
        "guitar": genre.guitar_programs,
        "pads": genre.pad_programs,
    }[stem]
    return instrument_of(stem, {"program": programs[0]})


def _steps(text: str, sub: int, number: int) -> list[float]:
    """Places within a beat, by its number in the bar, at which a pattern's text is played."""
    bar = [text[first : first + sub] for first in range(0, len(text), sub)]
    return [
        step / sub
        for step, chance in enumerate(bar[(number - 1) % len(bar)])
        if chance.isdigit() and int(chance) >= PLAYED
    ]


def _drums(pattern: kit.Pattern, sub: int, beats: Beats, seconds: float) -> list[Note]:
    time = {"ride": kit.RIDE, "ride_swing": kit.RIDE, "shaker": kit.SHAKER}.get(pattern.time, kit.CLOSED)
    notes = []
    for place, number in beats.covering(seconds):
        between = [0.0, *([1 / 3, 2 / 3] if sub == 6 else [0.5])]
        if pattern.time == "ride_swing":
            between = [0.0, 2 / 3] if number % 2 == 0 else [0.0]
        played = [(time, part, ACCENT if not part else HAT) for part in between]
        played += [(kit.KICK, part, LOUD) for part in _steps(pattern.kick, sub, number)]
        played += [(pattern.back, part, LOUD) for part in _steps(pattern.snare, sub, number)]
        starts = beats.seconds(np.array([place + part for _, part, _ in played]))
        notes += [Note(float(s), float(s) + 0.1, key, velocity) for s, (key, _, velocity) in zip(starts, played)]
    return notes


def _chords(clip: PartClip, pattern: kit.Pattern, sub: int, beats: Beats) -> list[Note]:
    """Bass: the root with the kick. Keys and guitar: the chord on every beat. Pads: each chord once."""
    notes: list[Note] = []
    if clip.stem == "pads":
        for chord in clip.chords:
            start, end = max(chord.start, 0.0), min(chord.end, clip.seconds)
            notes += [Note(start, end, pitch, 80) for pitch in _voiced(chord, LOWEST["pads"])]
        return notes
    places = []
    for place, number in beats.covering(clip.seconds):
        parts = sorted({0.0, *_steps(pattern.kick, sub, number)}) if clip.stem == "bass" else [0.0]
        places += [place + part for part in parts]
    starts = beats.seconds(np.array([*places, places[-1] + 1]))
    for start, end in zip(starts[:-1], starts[1:]):
        chord = chord_at(clip.chords, max(float(start), 0.0) + 0.03)
        if chord is None:
            continue
        pitches = _voiced(chord, LOWEST[clip.stem])
        if clip.stem == "bass":
            pitches = [_from(chord.root, LOWEST["bass"])]
        held = 0.9 * (float(end) - float(start))
        notes += [Note(float(start), float(start) + held, pitch, 85) for pitch in pitches]
    return notes


def _from(pitch_class: int, lowest: int) -> int:
    """The lowest MIDI pitch of a class from `lowest` on."""
    return lowest + (pitch_class - lowest) % 12


def _voiced(chord: Chord, lowest: int) -> list[int]:
    return sorted(_from(pitch_class, lowest) for pitch_class in chord.classes)


# ---------------------------------------------------------------- the nearest part


@dataclass(frozen=True)
class Known:
    """A part of the training data, whole. chords: of its song."""

    stem: str
    genre: str
    meter: str
    bpm: float
    grid: BeatGrid
    notes: tuple[Note, ...]
    chords: tuple[NamedChord, ...]
    instrument: str


@dataclass(frozen=True)
class Library:
    """The parts of training songs; only song.json is read of each."""

    songs: tuple[CorpusSong, ...]

    @cached_property
    def parts(self) -> dict[str, list[Known]]:
        """By stem."""
        found: dict[str, list[Known]] = {}
        for song in self.songs:
            for stem in song.stems:
                if stem in INSTRUMENTS and (notes := song_notes(song, stem)):
                    found.setdefault(stem, []).append(_known(song, stem, notes))
        return found

    def nearest(self, clip: PartClip) -> Known | None:
        """By metre, then genre and tempo; None where the stem has no part here."""

        def distance(part: Known) -> tuple[bool, float]:
            tempo = abs(float(np.log2(part.bpm / clip.truth.bpm)))
            return part.meter != clip.meter, tempo + OTHER_GENRE * (part.genre != clip.genre)

        return min(self.parts.get(clip.stem, ()), key=distance, default=None)


def _known(song: CorpusSong, stem: str, notes: Sequence[Note]) -> Known:
    with song.checked():
        meta = song.meta
        return Known(
            stem,
            meta["genre"],
            meta["meter"],
            float(meta["tempo"]),
            BeatGrid(song.beats, song.numbers),
            tuple(notes),
            chords_of(meta["chords"], 0.0, song.seconds),
            instrument_of(stem, meta["stems"][stem]),
        )


def nearest(clip: PartClip, grid: BeatGrid | None, library: Library) -> Part | None:
    """The stretch of the nearest part in which most is played, moved onto the grid beat by beat.

    On pitched stems each chord's notes are moved to the chord that sounds in the clip: by the distance of the roots,
    and to its nearest pitch where theirs is not in it.
    """
    known = library.nearest(clip)
    if known is None:
        return None
    beats, theirs = Beats.of(grid), Beats.of(known.grid)
    covered = beats.covering(clip.seconds)
    first, number = covered[0]
    places = theirs.places(np.array([note.start for note in known.notes]))
    starts = [i for i, n in enumerate(theirs.grid.numbers) if n == number and i + len(covered) <= len(theirs.grid)]
    counts = [int(((places >= start) & (places < start + len(covered))).sum()) for start in starts]
    start = starts[int(np.argmax(counts))] if starts else 0
    begins = beats.seconds(places - start + first)
    ends = beats.seconds(theirs.places(np.array([note.end for note in known.notes])) - start + first)
    moved = [n._replace(start=float(b), end=float(e)) for n, b, e in zip(known.notes, begins, ends)]
    if not clip.drums:
        moved = [_harmonised(old, new, known, clip) for old, new in zip(known.notes, moved)]
    return Part(_inside(moved, clip.seconds), known.instrument)


def _harmonised(old: Note, new: Note, known: Known, clip: PartClip) -> Note:
    """A note of the known part, moved from its chord to the one that sounds where it comes to lie."""
    before = chord_at(known.chords, (old.start + min(old.end, old.start + 0.2)) / 2)
    after = chord_at(clip.chords, max(new.start, 0.0) + 0.05)
    if before is None or after is None:
        return new
    step = (after.root - before.root + 6) % 12 - 6
    pitch = old.pitch + step
    if old.pitch % 12 in before.classes:
        pitch = min((pitch + move for move in (0, -1, 1, -2, 2, -3, 3)), key=lambda p: p % 12 not in after.classes)
    return new._replace(pitch=int(pitch))
