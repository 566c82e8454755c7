"""Sampled instruments: an SFZ reader, a sampler, and the instruments that are shipped."""

from __future__ import annotations

import os
from pathlib import Path

from stage.errors import StageError
from stage.instruments import samples, soundfont
from stage.instruments.sfz import Instrument, read

LIBRARY = Path(__file__).resolve().parents[1] / "weights" / "instruments"
"""KIND/NAME.sfz, and the samples."""
KINDS = ("kits", "bass", "keys", "guitar", "pads")
DEFAULTS = {"kits": "studio", "bass": "finger", "keys": "grand", "guitar": "clean", "pads": "strings"}
PROGRAMS: tuple[tuple[int, str], ...] = (
    *((0, "keys/grand"), (1, "keys/bright"), (4, "keys/electric"), (5, "keys/fm-electric"), (6, "keys/clav")),
    *((8, "keys/fm-electric"), (16, "keys/organ"), (24, "guitar/nylon"), (25, "guitar/steel"), (26, "guitar/jazz")),
    *((27, "guitar/clean"), (28, "guitar/muted"), (29, "guitar/overdriven"), (30, "guitar/distorted")),
    *((31, "guitar/clean"), (32, "bass/upright"), (33, "bass/finger"), (34, "bass/pick"), (35, "bass/fretless")),
    *((36, "bass/slap"), (38, "bass/synth"), (39, "bass/round-synth"), (40, "pads/strings")),
    *((49, "pads/slow-strings"), (50, "pads/synth-strings"), (52, "pads/choir"), (55, "pads/strings")),
    *((80, "pads/synth-strings"), (88, "pads/warm-pad"), (90, "pads/synth-strings"), (91, "pads/choir")),
    *((92, "pads/bowed-glass"), (93, "pads/warm-pad"), (104, "guitar/steel")),
    *((108, "keys/fm-electric"), (112, "pads/warm-pad")),
)
"""General MIDI's programs: the first one of a range, and what is played for it."""
KITS: tuple[tuple[int, str], ...] = (
    *((0, "kits/studio"), (8, "kits/room"), (16, "kits/power"), (24, "kits/electronic"), (25, "kits/808")),
    *((26, "kits/electronic"), (32, "kits/jazz"), (40, "kits/brushes"), (48, "kits/percussion"), (56, "kits/studio")),
)
"""The same for the drum channel."""


def names() -> list[str]:
    """Shipped instruments, as KIND/NAME, the default of each kind first."""
    found = []
    for kind in KINDS:
        here = sorted(path.stem for path in (LIBRARY / kind).glob("*.sfz"))
        found += [f"{kind}/{name}" for name in sorted(here, key=lambda name: name != DEFAULTS[kind])]
    return found


def load(name: str | os.PathLike, program: int = 0, drums: bool = False) -> Instrument:
    """An instrument: the name of a shipped one ("kits/studio", or "studio"), or the path of an SFZ or SF2 file.

    program, drums: which preset of an SF2 file. Raises StageError for another name, and for files that cannot be used.
    """
    text = os.fspath(name)
    if text.lower().endswith(".sfz"):
        found = read(text)
        samples.check(found)
        return found
    if text.lower().endswith(".sf2"):
        return soundfont.instrument(text, program, soundfont.DRUMS if drums else 0)
    if text.lower().endswith(".sf3"):
        raise StageError(f"{text} is a compressed SoundFont (SF3): convert it to SF2 first")
    shipped = names()
    found = [known for known in shipped if text == known or text == known.split("/")[1]]
    preferred = [known for known in found if known.startswith("kits/") == drums]
    found = preferred if len(preferred) == 1 else found
    if len(found) > 1:
        raise StageError(f'several instruments are called "{text}": choose {" or ".join(found)}')
    if not found:
        raise StageError(
            f'there is no instrument "{text}": choose one of {", ".join(shipped)}, or a file that ends in .sfz or .sf2'
        )
    return read(LIBRARY / f"{found[0]}.sfz")


def for_program(program: int, drums: bool = False) -> str:
    """Name of the shipped instrument for a General MIDI program 0..127 (on the drum channel: a kit)."""
    return next(name for first, name in reversed(KITS if drums else PROGRAMS) if program >= first)
