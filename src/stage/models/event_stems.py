"""The stems of the player: which instruments each has, what it can play, and the codec of its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stage.models.events import DrumEvents, Events, VoiceEvents

INSTRUMENTS: dict[str, dict[str, tuple[int, ...]]] = {
    "drums": {
        "studio": (0,),
        "room": (8,),
        "power": (16,),
        "electronic": (24,),
        "808": (25,),
        "jazz": (32,),
        "brushes": (40,),
        "percussion": (48,),
    },
    "bass": {
        "upright": (32,),
        "finger": (33,),
        "pick": (34,),
        "fretless": (35,),
        "slap": (36, 37),
        "synth": (38,),
        "round synth": (39,),
        "muted": (),
    },
    "keys": {
        "grand": (0, 3, 6),
        "bright": (1, 2),
        "electric": (4,),
        "fm electric": (5,),
        "organ": (16, 17, 18, 19, 20, 21, 22, 23),
        "clav": (7,),
    },
    "guitar": {
        "nylon": (24,),
        "steel": (25,),
        "jazz": (26,),
        "clean": (27,),
        "muted": (28,),
        "overdriven": (29,),
        "distorted": (30, 31),
    },
    "pads": {
        "strings": (48, 49),
        "synth strings": (50, 51),
        "choir": (52, 53, 54),
        "warm pad": (88, 89, 91, 92, 94, 95),
        "poly synth": (90, 93),
    },
}
"""Instruments of each stem, in the order of their codes, with the General MIDI programs (of drums: kits) for which they
stand."""
REGISTERS: dict[str, tuple[int, int]] = {"bass": (26, 60), "keys": (28, 103), "guitar": (36, 91), "pads": (36, 96)}
"""Lowest and highest MIDI pitch of the pitched stems."""
AT_ONCE = {"bass": 1, "guitar": 6}
"""Notes that a stem plays at once, at most, where they are fewer than the voices of the codec."""


def codecs() -> dict[str, Events]:
    """The codec of each stem."""
    made: dict[str, Events] = {"drums": DrumEvents(list(INSTRUMENTS["drums"]))}
    for stem, register in REGISTERS.items():
        made[stem] = VoiceEvents(list(INSTRUMENTS[stem]), register=register, most=AT_ONCE.get(stem))
    return made


def instrument_of(stem: str, about: Mapping[str, Any]) -> str:
    """The instrument that a stem of the corpus is nearest to. about: the stem's entry in song.json."""
    program = about.get("kit", about.get("program", 0))
    return next((n for n, programs in INSTRUMENTS[stem].items() if program in programs), next(iter(INSTRUMENTS[stem])))
