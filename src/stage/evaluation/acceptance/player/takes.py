"""Takes: notes and their sound, what is measured of it, and both as a row of `clips.jsonl`.

What needs the sound is measured once, when the take is made; figures of notes are reckoned from the kept notes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stage.audio.level import match_level
from stage.beats.bar_pointer import BarPointer
from stage.beats.grid import BeatGrid
from stage.beats.tracker import MODEL, decode, listen
from stage.evaluation.acceptance.score import pack, unpack
from stage.evaluation.coherence import scorer
from stage.evaluation.embeddings import musicnn
from stage.evaluation.figures import harmony
from stage.evaluation.figures.sound import sounding
from stage.generation.prepare import CLICK_STEM_LUFS
from stage.instruments.stems import sound
from stage.notes import Note


@dataclass(frozen=True, eq=False)
class Take:
    """A part as it sounds. notes: seconds from the clip's beginning. audio: float32 [N], at the level of its mix."""

    notes: tuple[Note, ...]
    instrument: str
    audio: np.ndarray
    rate: int
    grid: BeatGrid | None = None


def sounded(
    notes: Sequence[Note], stem: str, instrument: str, seconds: float, rate: int, seed: int, level: float | None = None
) -> Take:
    """Notes on a shipped instrument, as the player sounds them. level: loudness in LUFS; None: that with a click."""
    audio = sound(notes, stem, instrument, rate, seconds, seed, channels=1)[0]
    return Take(tuple(notes), instrument, match_level(audio, rate, CLICK_STEM_LUFS if level is None else level), rate)


@dataclass(frozen=True)
class Measured:
    """What is kept of a take: its notes, and what was measured of its sound.

    sounding: share of frames of 10 ms that sound. beats: the tracker's activation, packed; drums only. voiced: share
    of frames with a pitch; bass only. stem, whole: embeddings of the stem and of the mix with it, packed. coherence:
    the scorer's values for the right context and for some wrong ones. None, where it is not asked for.
    """

    notes: tuple[Note, ...]
    instrument: str
    sounding: float | None = None
    beats: str | None = None
    voiced: float | None = None
    stem: str | None = None
    whole: str | None = None
    coherence: tuple[float, ...] | None = None

    def grid(self, model: BarPointer = MODEL) -> BeatGrid:
        """The beats that the tracker finds in the sound."""
        assert self.beats is not None
        return decode(unpack(self.beats), model)

    def embedding(self, of: str) -> np.ndarray:
        """float64 [windows, D] of "stem" or "whole"."""
        return unpacked(getattr(self, of))

    def to_json(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if value is not None}
        rows = [[round(n.start, 4), round(n.end, 4), n.pitch, n.velocity] for n in self.notes]
        return {**kept, "notes": rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measured:
        """Raises KeyError, TypeError or ValueError for what `to_json` cannot have written."""
        notes = tuple(Note(float(start), float(end), int(pitch), int(v)) for start, end, pitch, v in data["notes"])
        if not all(math.isfinite(n.start) and math.isfinite(n.end) and 0 < n.velocity < 128 for n in notes):
            raise ValueError("a note has a start, an end and a velocity")
        if not isinstance(data["instrument"], str):
            raise ValueError("an instrument has a name")
        made = cls(**{**data, "notes": notes})
        for value in (made.sounding, made.voiced, *(made.coherence or ())):
            if value is not None and not math.isfinite(value):
                raise ValueError("a figure is a number")
        if made.beats is not None:
            unpack(made.beats)
        for packed in (made.stem, made.whole):
            if packed is not None and not np.isfinite(unpacked(packed)).all():
                raise ValueError("an embedding has finite numbers")
        return made


def notes_alone(take: Take) -> Measured:
    """A take of which only the notes count."""
    return Measured(take.notes, take.instrument)


def measure(
    take: Take, stem: str, context: np.ndarray | None = None, wrong: Sequence[np.ndarray] = (), far: bool = True
) -> Measured:
    """Measure the sound of a take.

    context: float32 [N] at the take's rate, of what it is mixed with; None: it stands alone. wrong: other contexts, for
    the coherence. far: embed stem and mix.
    """
    audio, rate = take.audio, take.rate
    pitched = harmony.pitches(audio, rate) if stem == "bass" else None
    mixed = audio if context is None else audio + context[: len(audio)]
    return Measured(
        take.notes,
        take.instrument,
        sounding(audio, rate),
        pack(listen(audio, rate, published_only=True)) if stem == "drums" else None,
        None if pitched is None else float(np.isfinite(pitched).mean()),
        packed(musicnn.embed(audio, rate)) if far else None,
        packed(musicnn.embed(mixed, rate)) if far and context is not None else None,
        tuple(scorer.score(audio, one, rate) for one in (context, *wrong)) if wrong and context is not None else None,
    )


def packed(array: np.ndarray) -> str:
    """float [windows, D] as text, in half precision."""
    return f"{len(array)}:" + base64.b64encode(np.asarray(array, "<f2").tobytes()).decode("ascii")


def unpacked(text: str) -> np.ndarray:
    """The inverse of `packed`. Raises ValueError for other text."""
    count, _, data = text.partition(":")
    return np.frombuffer(base64.b64decode(data, validate=True), "<f2").reshape(int(count), -1).astype(np.float64)
