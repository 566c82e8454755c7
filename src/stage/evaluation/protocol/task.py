"""What `stage evaluate` is asked to do: data, plan, models; and where a stem is kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stage.data import open_songs
from stage.errors import StageError
from stage.evaluation.protocol.clips import Plan

MODEL = "model"
CONTROLS = ("no context", "no text")
WRONG = "wrong context"
TRUE = "true"
BUILT_IN = (MODEL, *CONTROLS, WRONG, TRUE)
LONGEST = 80
"""Characters of a name."""
_NAME = re.compile(r"[\w+-](?:[\w .+-]*[\w+-])?")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names that Windows keeps for devices."""


@dataclass(frozen=True)
class Task:
    """One evaluation.

    models: condition -> name or folder; "model" is the one that is evaluated, the others are baselines.
    systems: condition -> folder with ID.wav or ID.flac. adapters are loaded onto "model" alone.
    Raises StageError for the names of conditions that cannot be folders, or of which two would share one.
    """

    data: tuple[str, ...]
    plan: Plan
    models: Mapping[str, str]
    systems: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    precision: str = "auto"
    device: str | None = None
    tracker: str = "auto"

    def __post_init__(self) -> None:
        check_names([*self.models, *self.systems])
        for stem in self.plan.stems:
            if not _NAME.fullmatch(stem):
                raise StageError(f'"{stem}" cannot be the name of a stem: it is part of the names of files')

    def songs(self) -> list:
        """The songs of all data sets; where two share an id, the later one gets a number."""
        found: dict[str, Any] = {}
        for place, path in enumerate(self.data):
            for song in open_songs(path):
                name = song.id if song.id not in found else f"{song.id}#{place}"
                found[name] = replace(song, id=name)
        return list(found.values())


def check_names(conditions: Iterable[str]) -> None:
    """Raise StageError for a name that is not safe as a folder's, or that shares its folder with another condition."""
    taken = {_same_folder(name): name for name in BUILT_IN if name != MODEL}
    for name in conditions:
        if not _NAME.fullmatch(name) or len(name) > LONGEST or _DEVICES.fullmatch(name.lower()):
            raise StageError(
                f'"{name}" cannot name a condition: choose a name of letters, digits, spaces and any of . _ + - with a'
                f" letter or digit at its ends, at most {LONGEST} of them"
            )
        if (other := taken.get(_same_folder(name))) is not None:
            raise StageError(
                f'choose another name than "{name}": its stems would share a folder with those of "{other}"'
            )
        taken[_same_folder(name)] = name


def _same_folder(name: str) -> str:
    """Equal for names whose folders are the same on some file system: they may fold case and compose accents."""
    return unicodedata.normalize("NFKC", folder(name)).casefold()


def folder(condition: str) -> str:
    """Name of the folder, or file, of a condition."""
    return condition.replace(" ", "-")


def audio_path(out: Path, condition: str, clip: str) -> Path:
    """Where the stem of a condition for a clip is kept."""
    return out / "audio" / folder(condition) / f"{clip}.flac"


def pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """["NAME=VALUE", ...] as a dict. Raises StageError for another form, or a name that is taken."""
    found: dict[str, str] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        name, value = name.strip(), value.strip()
        if not (name and equals and value):
            raise StageError(f"{option} takes NAME=..., not {pair}")
        if name in BUILT_IN or name in found:
            raise StageError(f'{option}: choose another name than "{name}"')
        found[name] = value
    return found
