"""What each data set calls its stems, and what they are called here: every table of names in one place.

A role of None is left out: it is not an instrument. Roles are plain words; a folder of stems may add its own
(`stems.yaml`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MOISES: dict[str, str | None] = {
    "vocals": "vocals",
    "bass": "bass",
    "drums": "drums",
    "percussion": "percussion",
    "guitar": "guitar",
    "other_plucked": "plucked",
    "piano": "keys",
    "other_keys": "keys",
    "bowed_strings": "strings",
    "wind": "wind",
    "other": "other",
}
"""MoisesDB's stem names. The paper's drums are the stem `drums` alone: congas and shakers stand beside it, in a role of
their own."""

MOISES_TRACKS: dict[str, str | None] = {"click track": None, "metronome": None}
"""Track types that count for more than the stem they stand in: a metronome would give the beat away to the model,
and is not music."""

MUSDB: dict[str, str | None] = {"mixture": None, "drums": "drums", "bass": "bass", "other": "other", "vocals": "vocals"}
"""MUSDB18's sources, in the order of the streams of its MP4 files."""

SLAKH: dict[str, str | None] = {
    "drums": "drums",
    "percussive": "percussion",
    "chromatic percussion": "percussion",
    "bass": "bass",
    "guitar": "guitar",
    "ethnic": "plucked",
    "piano": "keys",
    "organ": "keys",
    "synth lead": "lead",
    "synth pad": "pads",
    "strings": "strings",
    "strings (continued)": "strings",
    "brass": "wind",
    "reed": "wind",
    "pipe": "wind",
    "sound effects": "other",
}
"""Slakh's `inst_class`, in lower case; `is_drum` goes before it. Classes that are not here are `other`."""

GENERAL_MIDI: tuple[tuple[int, str | None], ...] = (
    *((0, "keys"), (8, "percussion"), (16, "keys"), (22, "wind"), (23, "keys"), (24, "guitar"), (32, "bass")),
    *((40, "strings"), (46, "plucked"), (47, "percussion"), (48, "pads"), (55, "other"), (56, "wind"), (80, "lead")),
    *((87, "bass"), (88, "pads"), (96, "other"), (104, "plucked"), (109, "wind"), (110, "strings"), (111, "wind")),
    *((112, "percussion"), (120, None)),
)
"""General MIDI's programs, counted from 0: the role of each and of those up to the next. Noises are none."""

FOLDER: dict[str | None, tuple[str, ...]] = {
    "drums": (
        "drum",
        "drumkit",
        "drum kit",
        "drum set",
        "bass drum",
        "kick drum",
        "snare drum",
        "kick",
        "bd",
        "snare",
        "sd",
        "tom",
        "hihat",
        "hi hat",
        "hat",
        "hh",
        "cymbal",
        "overhead",
        "oh",
        "crash",
        "ride",
        "808 drum",
    ),
    "percussion": (
        "percussion",
        "perc",
        "conga",
        "bongo",
        "shaker",
        "tambourine",
        "clap",
        "cowbell",
        "claves",
        "timbales",
        "vibraphone",
        "marimba",
        "xylophone",
        "glockenspiel",
        "mallet",
    ),
    "bass": (
        "bass",
        "bass guitar",
        "electric bass",
        "acoustic bass",
        "synth bass",
        "double bass",
        "upright bass",
        "sub bass",
        "bass synth",
        "contrabass",
        "bass line",
        "bassline",
        "808 bass",
    ),
    "guitar": (
        "guitar",
        "gtr",
        "gt",
        "acoustic guitar",
        "electric guitar",
        "lead guitar",
        "rhythm guitar",
        "guitar solo",
        "acgtr",
        "elgtr",
    ),
    "keys": (
        "key",
        "keyboard",
        "piano",
        "grand piano",
        "electric piano",
        "rhodes",
        "wurlitzer",
        "wurli",
        "organ",
        "hammond",
        "clavinet",
        "clav",
        "harpsichord",
        "accordion",
        "synth",
        "synthesizer",
    ),
    "pads": ("pad", "synth pad"),
    "lead": ("lead", "synth lead", "lead synth"),
    "strings": ("strings", "violin", "viola", "cello", "fiddle", "string section"),
    "wind": (
        "wind",
        "woodwind",
        "brass",
        "horn",
        "trumpet",
        "trombone",
        "tuba",
        "sax",
        "saxophone",
        "flute",
        "clarinet",
        "oboe",
        "bassoon",
        "harmonica",
    ),
    "plucked": ("plucked", "banjo", "mandolin", "ukulele", "harp", "sitar"),
    "vocals": (
        "vocals",
        "vocal",
        "vox",
        "voice",
        "voc",
        "lead vocal",
        "lead vox",
        "lead voice",
        "backing vocal",
        "backing vox",
        "bgv",
        "bv",
        "choir",
        "singer",
    ),
    "other": ("other", "fx", "sfx", "effect", "sound effect", "sample"),
    None: (
        "mix",
        "mixture",
        "mixdown",
        "full mix",
        "master",
        "click",
        "click track",
        "metronome",
        "backing track",
        "reference",
    ),
}
"""What file names of a folder of stems may hold: whole words, in the singular or plural. The longest that fits decides,
then the last."""


def moises(stem: str, track: str) -> str | None:
    """The role of a MoisesDB track of that type in that stem. KeyError for a stem that MoisesDB v0.1 does not have."""
    kind = track.strip().lower()
    return MOISES_TRACKS[kind] if kind in MOISES_TRACKS else MOISES[stem.strip().lower()]


def slakh(inst_class: str, is_drum: bool) -> str | None:
    """The role of a Slakh stem."""
    return "drums" if is_drum else SLAKH.get(inst_class.strip().lower(), "other")


def general_midi(program: int, drums: bool, name: str, names: Names | None = None) -> str | None:
    """The role of a part of a MIDI file. Its name counts where the program is 0, which is also that of parts for which
    none was set."""
    if drums:
        return "drums"
    known, role = (names or Names()).role(name) if program == 0 else (False, None)
    if known and role:
        return role
    return next(role for first, role in reversed(GENERAL_MIDI) if first <= program)


def plain(name: str) -> str:
    """A file name as words in lower case: "01_BassGuitar(L)" -> "01 bass guitar l"."""
    return " ".join(re.findall(r"\d+|[^\W\d_]+", re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])", " ", name))).lower()


def _pattern(words: str) -> re.Pattern:
    """Whole words, with an s or without; `*` stands for any letters. The words of a pattern are taken apart as those of
    a name are."""
    parts = [plain(part) for part in words.split("*")]
    body = r"\w*".join(re.escape(part) for part in parts).replace(r"\ ", " ")
    return re.compile(rf"(?<!\w){body}(?:s|es)?(?!\w)")


class Names:
    """Which role a file name stands for: the user's patterns first, then `FOLDER`.

    extra: role (or None for what is to be left out) -> patterns.
    """

    def __init__(self, extra: Mapping[str | None, Sequence[str]] | None = None):
        tables = (extra or {}, FOLDER)
        self.tables = [
            [(role, _pattern(words)) for role, patterns in table.items() for words in patterns] for table in tables
        ]

    def role(self, name: str, whole: bool = False) -> tuple[bool, str | None]:
        """(whether the name is known, its role). whole: the pattern must be all of the name, as for a folder of one
        stem's tracks."""
        text = plain(name)
        for table in self.tables:
            found = [
                (len(hit[0]), hit.start(), role)
                for role, pattern in table
                for hit in pattern.finditer(text)
                if not whole or hit[0] == text
            ]
            # A mix or a click counts only where no instrument is named: a "drum mix" is drums.
            if found:
                return True, max([hit for hit in found if hit[2]] or found, key=lambda hit: hit[:2])[2]
        return False, None

    def roles(self, names: Sequence[str]) -> list[tuple[bool, str | None]]:
        """`role` of each file of one song. What all names begin with is the song's title, where the rest names the
        stems: "Guitar Town - Bass"."""
        whole, words = [self.role(name) for name in names], [plain(name).split() for name in names]
        title = next((at for at, same in enumerate(zip(*words)) if len(set(same)) > 1), 0)
        rest = [self.role(" ".join(part[title:])) for part in words]
        enough = len({role for _, role in rest if role}) > 1 and all(
            after for (before, _), (after, _) in zip(whole, rest) if before
        )
        return rest if enough else whole
