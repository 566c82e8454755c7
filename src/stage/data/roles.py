"""What data sets call their stems, and the roles that stand for them everywhere in STAGE."""

from __future__ import annotations

import re
from collections.abc import Mapping

ROLES = ("drums", "percussion", "bass", "guitar", "keys", "strings", "wind", "plucked", "synth", "vocals", "other")
"""The usual roles; a data set may bring others, by their own names."""

MOISES = {
    "drums": "drums", "percussion": "percussion", "bass": "bass", "guitar": "guitar", "piano": "keys", "other_keys": "keys",
    "bowed_strings": "strings", "wind": "wind", "other_plucked": "plucked", "vocals": "vocals", "other": "other",
}  # fmt: skip
"""MoisesDB's stem names."""

SLAKH = {
    "drums": "drums", "bass": "bass", "guitar": "guitar", "piano": "keys", "organ": "keys", "chromatic percussion": "percussion",
    "percussive": "percussion", "strings": "strings", "strings (continued)": "strings", "ensemble": "strings", "brass": "wind", "reed": "wind",
    "pipe": "wind", "ethnic": "plucked", "synth lead": "synth", "synth pad": "synth", "synth effects": "other", "sound effects": "other",
}  # fmt: skip
"""Slakh's instrument classes, in lower case."""

NAMES: dict[str, str] = {
    r"drum|\bkit\b|beat\b|kick|snare|hi-?hat|overhead": "drums",
    r"perc|conga|shaker|tambourine": "percussion",
    r"bass|\b808\b": "bass",
    r"g(ui)?ta?r|\bgtrs?\b": "guitar",
    r"keys?\b|piano|organ|rhodes|wurl|clav|harpsi": "keys",
    r"string|violin|viola|cello": "strings",
    r"brass|horn|sax|trumpet|trombone|flute|clarinet|wind": "wind",
    r"synth|pad|lead synth|arp\b": "synth",
    r"vocal|\bvox\b|voice|sing|choir": "vocals",
    r"other|\bfx\b|effects|rest|accompaniment": "other",
}
"""Pattern (regular expression, found anywhere in a file's name, any case) -> role; the first that fits counts."""

LEFT_OUT = r"mix|master|\bclick|metronome|full\b"
"""Files that are no stems: mixes, and the clicks to which musicians played."""


def role_of(name: str, more: Mapping[str, str] | None = None) -> str | None:
    """The role of a file by its name without extension; None for a mix or a click. more: patterns that are tried first, "" leaves out.

    A name that no pattern fits is a role of its own, in lower case.
    """
    plain = re.sub(r"[\W_]+", " ", name).strip().lower()
    for pattern, role in (*(more or {}).items(), (LEFT_OUT, ""), *NAMES.items()):
        if re.search(pattern, plain):
            return role or None
    return re.sub(r"^\d+\s+", "", plain) or None
