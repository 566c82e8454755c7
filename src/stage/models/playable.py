"""What each stem of a model of events can play: drum pieces, instruments and the words for them, registers.

Without torch: options are checked against these before anything heavy is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GROUPS: dict[str, tuple[tuple[str, int], ...]] = {
    "kick": (("kick", 36), ("kick 2", 35)),
    "snare": (("snare", 38), ("rim shot", 40), ("side stick", 37), ("clap", 39), ("snare 2", 31)),
    "hats": (("closed", 42), ("pedal", 44), ("open", 46), ("closed edge", 22), ("half open", 26)),
    "high toms": (("high tom", 50), ("hi-mid tom", 48), ("low-mid tom", 47)),
    "low toms": (("low tom", 45), ("high floor tom", 43), ("low floor tom", 41), ("floor tom rim", 58)),
    "ride": (("ride", 51), ("bell", 53), ("ride 2", 59)),
    "crash": (("crash", 49), ("splash", 55), ("china", 52), ("crash 2", 57)),
    "percussion": (
        *(("tambourine", 54), ("cowbell", 56), ("cabasa", 69), ("maracas", 70), ("shaker", 82), ("claves", 75)),
        *(("high conga mute", 62), ("high conga", 63), ("low conga", 64), ("high bongo", 60), ("low bongo", 61)),
        *(("high timbale", 65), ("low timbale", 66), ("high agogo", 67), ("low agogo", 68), ("triangle", 81)),
        *(("wood block", 76), ("low wood block", 77), ("triangle mute", 80)),
        *(("guiro", 73), ("long guiro", 74), ("high q", 27), ("slap", 28)),
    ),
}
"""Groups of drum pieces: (articulation, key), in the order of their codes. Keys are General MIDI's, with those of
electronic kits for edges and rims."""
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


WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "drums": {
        "studio": ("studio kit", "standard kit", "acoustic kit"),
        "room": ("room kit",),
        "power": ("power kit",),
        "electronic": ("electronic kit", "electronic drums"),
        "808": ("808",),
        "jazz": ("jazz kit",),
        "brushes": ("brushes", "brush kit", "brushed"),
        "percussion": ("percussion", "orchestral kit"),
    },
    "bass": {
        "upright": ("upright", "double bass", "acoustic bass"),
        "finger": ("finger bass", "fingered bass", "fingerstyle"),
        "pick": ("pick bass", "picked bass"),
        "fretless": ("fretless",),
        "slap": ("slap bass", "slapped bass"),
        "synth": ("synth bass",),
        "muted": ("muted bass",),
    },
    "keys": {
        "grand": ("grand piano", "acoustic piano"),
        "bright": ("bright piano", "honky-tonk"),
        "electric": ("electric piano", "rhodes"),
        "fm electric": ("fm piano", "fm electric"),
        "organ": ("organ",),
        "clav": ("clav", "clavinet"),
    },
    "guitar": {
        "nylon": ("nylon", "classical guitar"),
        "steel": ("steel guitar", "steel-string", "acoustic guitar"),
        "jazz": ("jazz guitar",),
        "clean": ("clean guitar", "clean electric"),
        "muted": ("muted guitar", "palm-muted"),
        "overdriven": ("overdriven", "overdrive"),
        "distorted": ("distorted", "distortion"),
    },
    "pads": {
        "synth strings": ("synth strings",),
        "strings": ("strings",),
        "choir": ("choir",),
        "warm pad": ("warm pad",),
        "poly synth": ("poly synth", "polysynth"),
    },
}
"""Words of a prompt that name an instrument, beside those that only suggest one."""


def named(prompt: str, stem: str) -> str | None:
    """The instrument or kit that a prompt names, by the words alone; None where it names none."""
    text = f" {re.sub(r'[^a-z0-9-]+', ' ', prompt.lower())} "
    found = (name for name, words in WORDS[stem].items() if any(f" {word} " in text for word in words))
    return next(found, None)


def instrument_of(stem: str, about: Mapping[str, Any]) -> str:
    """The instrument that a stem of the corpus is nearest to. about: the stem's entry in song.json."""
    program = about.get("kit", about.get("program", 0))
    return next((n for n, programs in INSTRUMENTS[stem].items() if program in programs), next(iter(INSTRUMENTS[stem])))
