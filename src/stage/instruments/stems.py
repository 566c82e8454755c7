"""Stems of played notes as sound: which instrument plays a stem, what it plays for keys that it has not, and the sound,
at once, part by part, or each piece of the drums alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from stage import instruments
from stage.errors import StageError
from stage.instruments import soundfont
from stage.instruments.live import Live
from stage.instruments.room import response
from stage.instruments.sampler import Sampler
from stage.instruments.scores import STEMS, unsupported
from stage.notes import Note

ROOM = 0.15
"""Level of the room around a stem."""
FILES = (".sfz", ".sf2", ".sf3")
"""Endings of a name that is a file's."""
NAMED_OTHERWISE = {"pads/poly-synth": "pads/synth-strings"}
"""Instruments of the player that the library has under another name, or whose nearest it has."""
PROGRAMS = {"drums": 0, "bass": 33, "keys": 0, "guitar": 27, "pads": 48}
"""Presets of SoundFonts, where none is chosen."""
PIECES: dict[str, tuple[int, ...]] = {
    "kick": (35, 36),
    "snare": (31, 37, 38, 39, 40),
    "hats": (22, 26, 42, 44, 46),
    "toms": (41, 43, 45, 47, 48, 50, 58),
    "ride": (51, 53, 59),
    "crash": (49, 52, 55, 57),
}
"""Keys of each piece of a kit; all others are "percussion"."""
NEAREST: dict[int, tuple[int, ...]] = {
    **{35: (36,), 36: (35, 41), 31: (38,), 38: (40, 31, 37), 40: (38,), 37: (40, 38), 39: (38,)},
    **{42: (22, 44, 46), 22: (42,), 44: (42,), 46: (26, 42), 26: (46,)},
    **{50: (48,), 48: (50, 47), 47: (48, 45), 45: (47, 43), 43: (41, 45), 41: (43, 45), 58: (41, 43)},
    **{51: (59, 53, 49), 59: (51,), 53: (51,), 49: (57, 55, 52, 51), 57: (49,), 55: (57, 49), 52: (57, 49)},
    **{54: (82, 42), 69: (70, 82), 70: (69, 82), 82: (70, 69, 42), 83: (54,)},
    **{56: (67, 68, 53), 67: (68, 56), 68: (67, 56), 71: (67,), 72: (71, 67), 81: (80, 53), 80: (81,), 84: (81,)},
    **{75: (76, 37), 76: (75, 77), 77: (76,), 85: (75,), 27: (75,), 32: (37,), 33: (37,), 34: (56,)},
    **{62: (63, 60), 63: (62, 64), 64: (63, 61), 60: (61, 63, 50), 61: (60, 64, 48), 65: (66, 60), 66: (65, 61)},
    **{
        73: (74, 69),
        74: (73,),
        29: (73,),
        30: (29,),
        78: (79, 62),
        79: (78, 63),
        86: (87, 64),
        87: (86, 41),
        28: (39,),
    },
}
"""Drum keys, and those that stand in for each where a kit has no sound for it, the nearest first."""


def piece_of(key: int) -> str:
    """The piece of a kit that a key belongs to."""
    return next((piece for piece, keys in PIECES.items() if key in keys), "percussion")


def name_of(stem: str, instrument: str | os.PathLike) -> str:
    """What `stage.instruments.load` takes for an instrument of a stem: a file's path, or a shipped name for one as the
    player has it ("fm electric"), or as it is shipped, with or without its kind ("keys/fm-electric")."""
    text = os.fspath(instrument)
    if is_file(text):
        return text
    plain = text.strip().lower().replace(" ", "-")
    name = plain if "/" in plain else f"{STEMS[stem]}/{plain}"
    return NAMED_OTHERWISE.get(name, name)


def is_file(instrument: str | os.PathLike) -> bool:
    """Whether the name of an instrument is that of a user's file."""
    return os.fspath(instrument).lower().endswith(FILES)


def program_of(stem: str, instrument: str | os.PathLike) -> int:
    """The General MIDI program (of drums: kit) that stands for an instrument in a MIDI file."""
    name = name_of(stem, instrument)
    table = instruments.KITS if stem == "drums" else instruments.PROGRAMS
    return next((program for program, shipped in table if shipped == name), PROGRAMS[stem])


def sampler(stem: str, instrument: str | os.PathLike, rate: int, program: int | None = None) -> Sampler:
    """The sampler of a stem's instrument at a rate; the last ones are kept for the next take.

    instrument: see `name_of`. program: which preset of a SoundFont, the stem's usual one if None; where the file has
    not that one, the first that it has. Raises StageError for an instrument that cannot be
    used.
    """
    name = name_of(stem, instrument)
    file = Path(name)
    stamp = file.stat().st_mtime_ns if file.suffix.lower() in FILES and file.is_file() else 0  # it may be edited
    return _sampler(name, PROGRAMS[stem] if program is None else program, stem == "drums", rate, stamp)


@lru_cache(4)
def _sampler(name: str, program: int, drums: bool, rate: int, stamp: int) -> Sampler:
    found = soundfont.nearest(name, program, drums) if name.lower().endswith(".sf2") else None
    made = Sampler(found or instruments.load(name, program, drums), rate)
    if not made.keys():
        raise StageError(f"{name} has no sound for any key: its regions end below where they begin")
    return made


def warm(rate: int) -> None:
    """Do what the first sound would wait for, half a second: load the filters, make the room."""
    import scipy.signal  # noqa: F401

    response(rate)


class Playing:
    """A stem that is played part by part, on the channels of a song: two, or one for a song that has one.

    notes keep to what the instrument can play: see `playable`. instrument, program: see `sampler`. cents: tuning of the
    song against A = 440 Hz; drums stay as they are. only: of drums, the pieces that are heard.
    """

    def __init__(
        self,
        stem: str,
        instrument: str | os.PathLike,
        rate: int,
        seed: int = 0,
        cents: float = 0.0,
        room: float = ROOM,
        channels: int = 2,
        program: int | None = None,
        only: Sequence[str] | None = None,
    ):
        self.stem, self.channels = stem, channels
        self.sampler = sampler(stem, instrument, rate, program)
        keys = None if only is None else {key for key in range(128) if piece_of(key) in only}
        self._live = Live(self.sampler, seed, 0.0 if stem == "drums" else cents, room, keys)

    def push(self, notes: Iterable[Note], end: float) -> np.ndarray:
        """`Live.push`: float32 [C, m]."""
        return self._mixed(self._live.push(playable(notes, self.sampler, self.stem), end))

    def finish(self, seconds: float, notes: Iterable[Note] = ()) -> np.ndarray:
        """`Live.finish`, with the last notes: float32 [C, m]."""
        self._live.add(playable(notes, self.sampler, self.stem))
        return self._mixed(self._live.finish(seconds))

    def _mixed(self, audio: np.ndarray) -> np.ndarray:
        return audio if self.channels > 1 else audio.mean(0, keepdims=True)


def sound(
    notes: Sequence[Note],
    stem: str,
    instrument: str | os.PathLike,
    rate: int,
    seconds: float,
    seed: int = 0,
    cents: float = 0.0,
    room: float = ROOM,
    channels: int = 2,
    program: int | None = None,
) -> np.ndarray:
    """A stem's notes as sound: float32 [C, round(seconds * rate)], C = 2, or 1 for one channel.

    What rings at the end is cut there: the pipeline's envelope fades it. See `Playing` for the arguments. Raises
    StageError for an instrument that cannot be used.
    """
    return Playing(stem, instrument, rate, seed, cents, room, channels, program).finish(seconds, notes)


def pieces(
    notes: Sequence[Note],
    instrument: str | os.PathLike,
    rate: int,
    seconds: float,
    seed: int = 0,
    room: float = ROOM,
    channels: int = 2,
    program: int | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Each piece of the drums that is played, alone: (name, float32 [C, N]), each with its share of the room.

    Together they are `sound` of all notes. A hit that a kit has no sound for is in the file of the piece that it is
    played on.
    """
    played = playable(notes, sampler("drums", instrument, rate, program), "drums")
    for piece in (*PIECES, "percussion"):
        if any(piece_of(note.pitch) == piece for note in played):
            alone = Playing("drums", instrument, rate, seed, 0.0, room, channels, program, only=(piece,))
            yield piece, alone.finish(seconds, notes)


# ---------------------------------------------------------------- keys that an instrument has no sound for


def playable(notes: Iterable[Note], sampler: Sampler, stem: str) -> list[Note]:
    """The notes with keys and velocities that the instrument has a sound for: a drum's nearest relative, a pitch in
    another octave or else the nearest, the nearest velocity. None is lost."""
    made = []
    for note in notes:
        pitch = stand_in(note.pitch, sampler, stem)
        made.append(note._replace(pitch=pitch, velocity=_velocity(note.velocity, sampler, pitch)))
    return made


def stand_in(key: int, sampler: Sampler, stem: str) -> int:
    """The key that is played for a key: itself where it has a sound."""
    if sampler.regions(key):
        return key
    if stem == "drums":
        line, known = [key], {key}
        for other in line:  # breadth first, from relative to relative
            if sampler.regions(other):
                return other
            line += [k for k in NEAREST.get(other, ()) if k not in known]
            known.update(line)
    there = np.array(sampler.keys())
    octaves = there[(there - key) % 12 == 0] if stem != "drums" else there[:0]
    there = octaves if len(octaves) else there
    return int(there[np.abs(there - key).argmin()])


def _velocity(velocity: int, sampler: Sampler, key: int) -> int:
    layers = [(r.lovel, r.hivel) for r in sampler.regions(key) if r.lovel <= r.hivel]
    if not layers or any(low <= velocity <= high for low, high in layers):
        return velocity
    return min((low if velocity < low else high for low, high in layers), key=lambda other: abs(other - velocity))


def remarks(
    notes: Iterable[Note], stem: str, instrument: str | os.PathLike, rate: int, program: int | None = None
) -> list[str]:
    """What a user's file cannot play as it is written, in lines: opcodes that are not supported, keys without a
    sound."""
    found = sampler(stem, instrument, rate, program)
    name = name_of(stem, instrument)
    said = unsupported(name, found.instrument)
    other = {key: stand_in(key, found, stem) for key in sorted({note.pitch for note in notes})}
    if lost := [f"{key} ({sounding})" for key, sounding in other.items() if key != sounding]:
        said.append(f"{name} has no sound for these keys, and the nearest is played (in brackets): {', '.join(lost)}")
    return said
