"""A MIDI file on instruments: which parts, on what, and their sum."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stage import instruments, midi
from stage.audio.decoders import check_rate
from stage.audio.level import limit
from stage.errors import StageError
from stage.instruments.room import reverberate
from stage.instruments.sampler import Sampler
from stage.instruments.sfz import Instrument
from stage.midi import Part

STEMS = {"drums": "kits", "bass": "bass", "keys": "keys", "guitar": "guitar", "pads": "pads"}
"""Stems, and the kind of instruments that play them."""
RING = 6.0
"""Seconds after the last note that may still sound."""
SILENT = 10 ** (-75 / 20)
"""Peak below which the end is cut."""


@dataclass(frozen=True)
class Rendered:
    """audio float32 [2, N]; notes: lines for the user about what could not be played as it is written."""

    audio: np.ndarray
    notes: tuple[str, ...]


def render(
    path: str | os.PathLike,
    instrument: str | None = None,
    kit: str | None = None,
    stem: str | None = None,
    *,
    rate: int = 44100,
    seed: int = 0,
    room: float = 0.15,
    tuning: float = 440.0,
) -> Rendered:
    """Sound a MIDI file.

    instrument, kit: for pitched parts and for drums, a shipped name or a file; by default those of the file's programs.
    stem: only the parts of this stem; a single part whose program says otherwise is taken for it. rate: Hz. tuning: of
    A in Hz. Raises StageError for a file, a name or a value that cannot be used.
    """
    rate = check_rate(rate, "the result")
    if not 400 <= tuning <= 480:
        raise StageError(f"the tuning is {tuning:g} Hz: 400 to 480 can be played")
    if not 0 <= room <= 1:
        raise StageError(f"the room is {room:g}: 0 (none) to 1")
    if seed < 0:
        raise StageError(f"the seed is {seed}: 0 or more")
    if stem is not None and stem not in STEMS:
        raise StageError(f'there is no stem "{stem}": choose {", ".join(STEMS)}')
    score = midi.read(path)
    parts = _chosen(Path(path), score.parts, stem, kit if instrument is None else None)
    if instrument is not None and all(drums for _, drums in parts):
        raise StageError(f"{path} has only drums to play: choose their sound by --kit")
    if kit is not None and not any(drums for _, drums in parts):
        raise StageError(f"{path} has no drums to play on a kit: choose a sound by --instrument")
    out = np.zeros((2, round((score.seconds + RING) * rate)), np.float32)
    samplers: dict[tuple, Sampler] = {}
    notes: dict[str, None] = {}
    for number, (part, drums) in enumerate(parts):
        name = (kit if drums else instrument) or _usual(part, drums, stem)
        key = (name, part.program if name.lower().endswith(".sf2") else 0, drums)
        if key not in samplers:
            found = instruments.load(name, part.program, drums)
            samplers[key] = Sampler(found, rate)
            notes |= dict.fromkeys(unsupported(name, found))
        sampler = samplers[key]
        gain = np.float32(10 ** (part.gain_db / 20))
        cents = 0.0 if drums else 1200 * math.log2(tuning / 440)
        out += gain * sampler.render(part.notes, out.shape[1] / rate, seed + number, cents)
        lost = sorted({note.pitch for note in part.notes} - set(sampler.keys()))
        if lost:
            notes[f"{name} has no sound for the keys {', '.join(map(str, lost))} of {part.name}"] = None
    if room:
        out = reverberate(out, rate, room)
    loud = np.flatnonzero(np.abs(out).max(0) > SILENT)
    least = round(score.seconds * rate)
    return Rendered(limit(out[:, : max(least, int(loud[-1]) + 1 if len(loud) else 0)], rate), tuple(notes))


def _chosen(path: Path, parts: tuple[Part, ...], stem: str | None, kit: str | None) -> list[tuple[Part, bool]]:
    """Parts that are played, and whether each is played as drums."""
    if kit is not None and len(parts) == 1 and stem in (None, "drums"):
        return [(parts[0], True)]
    if stem is None:
        return [(part, part.drums) for part in parts]
    found = [(part, part.drums) for part in parts if stem_of(part) == stem]
    if not found and len(parts) == 1:
        return [(parts[0], stem == "drums")]
    if not found:
        there = sorted({stem_of(part) for part in parts})
        raise StageError(f"{path} has no part for {stem}: by its programs it has {', '.join(there)}")
    return found


def stem_of(part: Part) -> str:
    """The stem that a part's program belongs to."""
    kind = "kits" if part.drums else instruments.for_program(part.program).split("/")[0]
    return next(stem for stem, other in STEMS.items() if other == kind)


def _usual(part: Part, drums: bool, stem: str | None) -> str:
    """The shipped instrument of a part's program, or of the stem if its program is one of another stem."""
    if stem is not None and stem_of(part) != stem or drums != part.drums:
        kind = STEMS[stem] if stem else "kits"
        return f"{kind}/{instruments.DEFAULTS[kind]}"
    return instruments.for_program(part.program, drums)


def unsupported(name: str, instrument: Instrument) -> list[str]:
    """A line on what an instrument file uses that is not supported."""
    if not instrument.unknown:
        return []
    shown = ", ".join(instrument.unknown[:12]) + (" ..." if len(instrument.unknown) > 12 else "")
    return [f"{name} uses what is not supported, and is played without it: {shown}"]
