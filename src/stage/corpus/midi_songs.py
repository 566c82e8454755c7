"""Songs from MIDI files: who plays what, beats by the tempo map, key and chords from the notes, in pieces of a length.

What cannot be used is named: files that cannot be read or whose notes do not lie on their beats, parts without a role,
drum keys that no kit here has.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stage import midi
from stage.audio.chroma import key_of_classes
from stage.beats.grid import BeatGrid
from stage.chords.played import chords_of
from stage.chords.symbols import Chord
from stage.corpus.human_drums import swing_of
from stage.data.roles import Names, general_midi
from stage.errors import StageError
from stage.models.playable import GROUPS, REGISTERS
from stage.notes import Note

SUFFIXES = (".mid", ".midi", ".kar", ".smf")
MOST_BYTES = 4 << 20
MOST_NOTES = 100_000
FEWEST_NOTES = 8
"""Of a stem in a piece."""
ON_THE_BEAT = 0.3
"""Least strength (0 random, 1 exact) with which onsets fall on quarters or thirds of the beats; music that was
converted with a made-up tempo has below 0.2."""
STRAY = 0.05
"""Share of a part's notes outside its stem's register up to which they are left out; with more it is another stem."""
LOW = 50
"""Median pitch below which a part that is called a bass is one, whatever its program."""
KEYS = {58: None, 31: 37, 33: None, 34: None, 29: None, 30: None, 32: 37}
"""Drum keys of General MIDI and GS that mean another thing in `stage.models.events.GROUPS`, and their nearest there."""
DRUM_KEYS = {key for group in GROUPS.values() for _, key in group}
STEM_OF = {"keys": "keys", "guitar": "guitar", "bass": "bass", "pads": "pads", "lead": "lead", "wind": "lead"}
"""Roles of `stage.data.roles` -> stems of the corpus. Strings and voices are pads or the lead, by how many notes sound
at once; all others are the stem `other`."""
SUSTAINED = ("strings", "vocals", "pads")


@dataclass
class MidiSong:
    """A MIDI file as a song.

    parts: stem -> its part; the stem `other` has several. times [n + 1], numbers [n]: beats in seconds, the last one's
    end too, and their numbers in the bar. chords: of each beat. left_out: what was not used, in words.
    """

    path: Path
    digest: int
    parts: dict[str, list[midi.Part]]
    times: np.ndarray
    numbers: np.ndarray
    chords: list[Chord]
    key: str
    seconds: float
    left_out: list[str] = field(default_factory=list)

    @property
    def held_out(self) -> bool:
        """Whether it belongs to the held-out songs: one file in ten, by its content."""
        return self.digest % 10 == 0

    def notes(self, stem: str) -> list[Note]:
        """All notes of a stem, in order."""
        return sorted(note for part in self.parts.get(stem, ()) for note in part.notes)


def find(folder: str | Path) -> list[Path]:
    """All MIDI files under a folder, in order. Raises StageError where there are none."""
    root = Path(folder)
    if not root.is_dir():
        raise StageError(f"{root} is not a folder: --midi names one with MIDI files")
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise StageError(f"no MIDI files ({', '.join(SUFFIXES)}) in {root}")
    return found


def read(path: Path, names: Names | None = None) -> MidiSong:
    """Read a file as a song. Raises StageError, one line, for a file that cannot be used."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        raise StageError(f"cannot read {path}: {error.strerror or error}") from None
    if data is None:
        raise StageError(f"{path} has more than {MOST_BYTES >> 20} MB: it is no song")
    score = midi.parse(path, data)
    if (count := sum(len(part.notes) for part in score.parts)) > MOST_NOTES:
        raise StageError(f"{path} has {count} notes: a song has at most {MOST_NOTES}")
    times, numbers = score.beats()
    if len(times) < 8:
        raise StageError(f"{path} has {len(times)} beats: too few for a song")
    strength = on_beats([note for part in score.parts for note in part.notes], times)
    if strength < ON_THE_BEAT:
        raise StageError(f"{path}: its notes do not lie on its beats ({strength:.2f}): its tempo is not the music's")
    parts, left_out = _cast(score.parts, names or Names())
    if len([stem for stem in parts if stem != "other"]) < 2:
        raise StageError(f"{path} has {' and '.join(parts) or 'nothing'} alone: a song needs two stems")
    ends = np.append(times, max(score.seconds, times[-1] + 1e-3))
    pitched = [n for stem, some in parts.items() if stem != "drums" for part in some for n in part.notes]
    weights = np.bincount([n.pitch % 12 for n in pitched], [n.end - n.start for n in pitched], 12)
    key = key_of_classes(weights) or "C major"
    return MidiSong(
        path, zlib.crc32(data), parts, ends, numbers, chords_of(pitched, ends, numbers), key, score.seconds, left_out
    )


def on_beats(notes: Sequence[Note], times: np.ndarray) -> float:
    """How strongly onsets fall on quarters or thirds of beats, 0..1: the length of their mean vector."""
    if len(times) < 2 or not notes:
        return 0.0
    places = np.interp([note.start for note in notes], times, np.arange(len(times)))
    return float(max(abs(np.mean(np.exp(2j * np.pi * parts * places))) for parts in (3, 4)))


def _cast(parts: Sequence[midi.Part], names: Names) -> tuple[dict[str, list[midi.Part]], list[str]]:
    """(stem -> parts, what was left out). Of several parts of one stem the one that plays most is the stem, the rest
    are heard as `other`; drums are all one stem."""
    found: dict[str, list[midi.Part]] = {}
    left_out = []
    for part in parts:
        role = general_midi(part.program, part.drums, part.name, names)
        if not part.drums and names.role(part.name)[1] == "bass" and np.median([n.pitch for n in part.notes]) < LOW:
            role = "bass"
        if role is None:
            left_out.append(f"{part.name}: program {part.program} is a noise")
            continue
        stem = _stem(part, role)
        kept = _playable(part, stem)
        if stem in REGISTERS and len(kept) < (1 - STRAY) * len(part.notes):
            stem, kept = "other", part.notes
        if lost := len(part.notes) - len(kept):
            left_out.append(f"{part.name}: {lost} notes that the {stem} cannot play")
        if kept:
            whole = midi.Part(part.name, part.channel, part.program, part.volume, kept)
            found.setdefault(stem, []).append(whole)
    made: dict[str, list[midi.Part]] = {}
    for stem in sorted(found, key=lambda s: s == "other"):
        some = sorted(found[stem], key=lambda part: -sum(min(n.end - n.start, 4.0) for n in part.notes))
        if stem in ("drums", "other"):
            made[stem] = made.get(stem, []) + some
        else:
            made[stem] = some[:1]
            if some[1:]:
                made.setdefault("other", []).extend(some[1:])
    return made, left_out


def _stem(part: midi.Part, role: str) -> str:
    if role == "drums":
        return "drums"
    if role in SUSTAINED:
        first, last = min(n.start for n in part.notes), max(n.end for n in part.notes)
        sounding = sum(n.end - n.start for n in part.notes) / max(last - first, 1e-3)
        short = float(np.median([n.end - n.start for n in part.notes])) < 0.35  # plucked strings, staccato
        together = _together(part.notes)
        return "pads" if together > 1.5 and not short and sounding > 0.5 else "other" if short else "lead"
    return STEM_OF.get(role, "other")


def _together(notes: Sequence[Note]) -> float:
    """Notes that sound at an onset, in the mean."""
    starts = np.sort([n.start for n in notes])
    ends = np.sort([n.end for n in notes])
    at = starts + 0.02
    return float(np.mean(np.searchsorted(starts, at, "right") - np.searchsorted(ends, at, "right")))


def _playable(part: midi.Part, stem: str) -> list[Note]:
    if stem == "drums":
        moved = [n._replace(pitch=KEYS.get(n.pitch, n.pitch) or 0) for n in part.notes]
        return [n for n in moved if n.pitch in DRUM_KEYS]
    low, high = REGISTERS.get(stem, (0, 127))
    return [n for n in part.notes if low <= n.pitch <= high]


@dataclass(frozen=True)
class Piece:
    """A stretch of a song from `start` for `seconds`: notes of each stem in seconds from there."""

    song: MidiSong
    number: int
    start: float
    seconds: float
    notes: dict[str, list[list[Note]]]

    @property
    def id(self) -> str:
        """The folder's name: of the file's content and the piece's number."""
        return f"midi-{self.song.digest:08x}-{self.number:02d}"


def pieces(song: MidiSong, seconds: float) -> list[Piece]:
    """Pieces of at most `seconds`, each from shortly before a downbeat on, in which two stems or more play and the
    notes lie on the beats."""
    downbeats = song.times[:-1][song.numbers == 1]
    made, at, number = (
        [],
        max(min(note.start for some in song.parts.values() for p in some for note in p.notes), 0.0),
        0,
    )
    while at < song.seconds - min(seconds / 2, 8.0):
        before = downbeats[downbeats <= at + 1e-3]
        begin = float(before[-1]) if len(before) else 0.0
        start = max(begin - 0.1, 0.0)
        length = min(seconds, song.seconds + 1.0 - start)
        notes = {
            stem: [cut for part in some if (cut := _crop(part.notes, start, length))]
            for stem, some in song.parts.items()
        }
        notes = {stem: some for stem, some in notes.items() if sum(map(len, some)) >= FEWEST_NOTES}
        inside = (song.times >= start) & (song.times <= start + length)
        every = [note for some in notes.values() for part in some for note in part]
        strength = on_beats(every, song.times[inside] - start)
        if len([stem for stem in notes if stem != "other"]) >= 2 and strength >= ON_THE_BEAT:
            made.append(Piece(song, number, start, length, notes))
        number += 1
        after = downbeats[(downbeats > begin + 1e-3) & (downbeats <= start + length)]
        at = float(after[-1]) if len(after) else start + length
    return made


def _crop(notes: Sequence[Note], start: float, seconds: float) -> list[Note]:
    """Notes in a stretch; those that sound on from before it begin with it, if they last."""
    made = []
    for note in notes:
        begin, end = max(note.start - start, 0.0), min(note.end - start, seconds)
        if note.start >= start + seconds or end - begin < (0.2 if note.start < start - 0.02 else 0.0):
            continue
        made.append(note._replace(start=begin, end=max(end, begin + 0.02)))
    return made


def describe(piece: Piece) -> dict:
    """What song.json says of the music of a piece: tempo, metre, key, beats, chords."""
    song, end = piece.song, piece.start + piece.seconds
    inside = (song.times[:-1] >= piece.start - 1e-6) & (song.times[:-1] < end)
    times, numbers = song.times[:-1][inside] - piece.start, song.numbers[inside]
    rows: list[dict] = []
    for begin, stop, chord in zip(song.times[:-1], song.times[1:], song.chords):
        low, high = max(begin - piece.start, 0.0), min(stop - piece.start, piece.seconds)
        if high <= low + 1e-6:
            continue
        if rows and rows[-1]["name"] == _name(chord):
            rows[-1]["end"] = round(high, 5)
            continue
        root = chord.root if chord.root >= 0 else None
        classes = [int(x) for x in chord.classes] if chord.root >= 0 else []
        rows.append(
            {
                "start": round(low, 5),
                "end": round(high, 5),
                "name": _name(chord),
                "root": root,
                "pitch_classes": classes,
            }
        )
    gaps = np.diff(times)
    onsets = [note.start for some in piece.notes.values() for part in some for note in part]
    swing = swing_of(np.interp(onsets, times, np.arange(len(times))) % 1)
    return {
        "tempo": round(60 / float(np.median(gaps)), 3) if len(gaps) else 120.0,
        "meter": f"{BeatGrid(times, numbers).beats_per_bar or 4}/4",
        "feel": "straight" if swing == 0.5 else "swing",
        "swing": swing,
        "key": song.key,
        "beats": [round(float(t), 6) for t in times],
        "downbeat_numbers": numbers.tolist(),
        "chords": rows,
        "sections": [],
    }


def _name(chord: Chord) -> str:
    return chord.name if chord.root >= 0 else "N"
