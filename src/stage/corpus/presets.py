"""Which soundfont preset plays a stem, and which presets only held-out songs may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stage.corpus.genres import Genre
from stage.corpus.harmony import pick
from stage.corpus.synth import SOUNDFONTS

FAMILY = dict(SOUNDFONTS.values())
KITS = (0, 8, 16, 24, 25, 32, 40, 48)
NAMES = {
    0: "grand piano",
    1: "bright piano",
    2: "electric grand piano",
    3: "honky-tonk piano",
    4: "electric piano",
    5: "FM electric piano",
    6: "harpsichord",
    7: "clavinet",
    11: "vibraphone",
    14: "tubular bells",
    16: "drawbar organ",
    17: "percussive organ",
    18: "rock organ",
    19: "church organ",
    21: "accordion",
    22: "harmonica",
    24: "nylon-string guitar",
    25: "steel-string guitar",
    26: "jazz guitar",
    27: "clean electric guitar",
    28: "muted electric guitar",
    29: "overdriven guitar",
    30: "distorted guitar",
    32: "upright bass",
    33: "fingered bass",
    34: "picked bass",
    35: "fretless bass",
    36: "slap bass",
    37: "slap bass",
    38: "synth bass",
    39: "synth bass",
    40: "violin",
    43: "contrabass",
    48: "strings",
    49: "slow strings",
    50: "synth strings",
    51: "synth strings",
    52: "choir",
    53: "voices",
    54: "synth voices",
    56: "trumpet",
    57: "trombone",
    59: "muted trumpet",
    61: "brass section",
    64: "soprano saxophone",
    65: "alto saxophone",
    66: "tenor saxophone",
    68: "oboe",
    71: "clarinet",
    73: "flute",
    79: "ocarina",
    80: "square lead",
    81: "saw lead",
    82: "calliope lead",
    84: "charang lead",
    87: "bass lead",
    88: "new age pad",
    89: "warm pad",
    90: "polysynth pad",
    91: "choir pad",
    92: "bowed pad",
    94: "halo pad",
    95: "sweep pad",
    105: "banjo",
    110: "fiddle",
}
KIT_NAMES = {
    0: "standard kit",
    8: "room kit",
    16: "power kit",
    24: "electronic kit",
    25: "808 kit",
    32: "jazz kit",
    40: "brush kit",
    48: "orchestral kit",
}


def held_out(font: str, program: int, drums: bool) -> bool:
    """Whether only held-out songs may use the preset: about a quarter of all, by soundfont family."""
    shift = 0 if FAMILY[font] == "fluid" else 2
    return (KITS.index(program) + shift) % 4 == 1 if drums else (program * 5 + shift) % 4 == 3


EVERY: dict[str, Sequence[int]] = {
    "drums": KITS,
    "bass": range(32, 40),
    "guitar": range(24, 31),
    "keys": range(0, 8),
    "pads": range(48, 55),
    "lead": range(64, 74),
    "other": range(0, 112),
}
"""Programs that stand in for those that suit a stem, where the split may not use one of them."""


def of_genre(genre: Genre, stem: str) -> Sequence[int]:
    """Programs (of drums: kits) that suit a stem of a genre."""
    return {
        "drums": genre.kits,
        "bass": genre.bass_programs,
        "guitar": genre.guitar_programs,
        "keys": genre.key_programs,
        "pads": genre.pad_programs,
        "lead": genre.lead_programs,
    }[stem]


def choose(
    rng: np.random.Generator,
    stem: str,
    programs: Sequence[int],
    fonts: list[str],
    side: int,
    has: Callable[[str, int, int], bool],
) -> tuple[str, int, int]:
    """(soundfont, bank, program) for a stem, one of `programs` if it can be; `side` 1 takes only held-out presets."""
    bank = 128 if stem == "drums" else 0
    for suitable in (programs, EVERY[stem]):
        options = [
            (f, bank, p)
            for f in fonts
            for p in suitable
            if held_out(f, p, stem == "drums") == bool(side) and has(f, bank, p)
        ]
        if options:
            return pick(rng, options)
    return pick(rng, [(f, bank, p) for f in fonts for p in EVERY[stem] if has(f, bank, p)])
