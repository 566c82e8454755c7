"""From paths to a song: probes the files of each role, and leaves out with a reason what would spoil an example.

A role is kept whole or not at all: drums without the snare's track would be a wrong target, and its rest a wrong
context.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stage.data.song import Problem, Song, Track, common_length, probe
from stage.errors import MissingExtra, StageError

TOLERANCE = 1.0
"""Seconds by which a track's length may differ from that of the song's other tracks; beyond it, its start is in doubt
too."""

LONGEST_HOURS = 24
"""A header that announces more has no length in it, or is broken."""


@dataclass(frozen=True)
class Source:
    """A recording that a data set lists. read: how it becomes a Track (raises StageError)."""

    role: str
    path: Path
    kind: str = ""
    bleed: bool = False
    read: Callable[..., Track] = probe


def inside(folder: Path, *names: Any) -> Path:
    """A path below `folder` of names that a metadata file gives. Raises StageError for one that leads elsewhere, or
    that no file can have."""
    for name in names:
        plain = isinstance(name, str) and name not in ("", ".", "..") and not re.search(r"[/\\\0\ud800-\udfff]", name)
        if not plain or len(name.encode()) > 255 or (folder / name).parent != folder:
            raise StageError(f"{folder}: {str(name)[:60]!r} cannot be the name of a file")
        folder /= name
    return folder


def bad_metadata(song: str, path: Path, kind: str, error: Exception) -> Problem:
    """What is reported of a song whose metadata file is not that of a data set of this kind."""
    known = isinstance(error, StageError)
    detail = str(error) if known else f"{path} is not of {kind} ({type(error).__name__}: {error})"
    return Problem(song, "bad metadata", detail)


def reason(path: Path, error: StageError) -> str:
    """One of few words for what is wrong with a file."""
    text = str(error)
    with contextlib.suppress(OSError):
        if not path.exists():
            return "file missing"
        if path.is_file() and path.stat().st_size == 0:
            return "file empty"
    if "holds no audio" in text:
        return "file empty"
    return "file truncated" if "truncated" in text else "file unreadable"


def tracks_of(song: str, sources: Iterable[Source], problems: list[Problem]) -> dict[str, list[Track]]:
    """Role -> tracks, of the roles whose every file can be read; the others go to `problems`."""
    stems: dict[str, list[Track]] = {}
    bad: set[str] = set()
    # A file that is named twice sounds once.
    for source in {(source.role, source.path): source for source in sources}.values():
        try:
            _check_there(source.path)
            track = source.read(str(source.path), kind=source.kind, bleed=source.bleed)
            if track.samples > LONGEST_HOURS * 3600 * track.rate:
                raise StageError(
                    f"{source.path} announces no length, or more than {LONGEST_HOURS} hours: write it anew as WAV or"
                    " FLAC"
                )
        except StageError as error:
            problems.append(Problem(song, reason(source.path, error), str(error), source.role))
            bad.add(source.role)
        else:
            stems.setdefault(source.role, []).append(track)
    return {role: tracks for role, tracks in stems.items() if role not in bad}


def _check_there(path: Path) -> None:
    try:
        path.stat()
    except FileNotFoundError:
        raise StageError(f"{path} does not exist") from None
    except OSError as error:
        raise StageError(f"{path} cannot be read: {error.strerror or error}") from None


def agreed(
    stems: dict[str, list[Track]], song: str, problems: list[Problem], tolerance: float
) -> dict[str, list[Track]]:
    """The roles whose tracks are as long as most of the song's, within `tolerance` seconds (of several such lengths,
    the longest)."""
    lengths = sorted(track.samples / track.rate for tracks in stems.values() for track in tracks)
    common = max(
        lengths, key=lambda length: (sum(abs(other - length) <= tolerance for other in lengths), length), default=0.0
    )
    kept = {}
    for role, tracks in stems.items():
        off = [track for track in tracks if abs(track.samples / track.rate - common) > tolerance]
        if off:
            lasts = f"{off[0].path} lasts {off[0].samples / off[0].rate:.2f} s, the song's other tracks {common:.2f} s"
            problems.append(Problem(song, "length differs", lasts, role))
        else:
            kept[role] = tracks
    return kept


def make(
    song: str, stems: dict[str, list[Track]], problems: list[Problem], tolerance: float = TOLERANCE, **about: Any
) -> Song | None:
    """The song of these tracks, at the rate that most of them have (the higher of two); None, with a problem, where
    nothing is left.

    about: the other fields of `Song`.
    """
    stems = agreed(stems, song, problems, tolerance)
    rates = [track.rate for tracks in stems.values() for track in tracks]
    if not rates:
        problems.append(Problem(song, "no stems", "none of its stems can be used"))
        return None
    rate = max(set(rates), key=lambda one: (rates.count(one), one))
    return at_rate(
        Song(id=song, rate=rate, samples=0, stems={role: tuple(tracks) for role, tracks in stems.items()}, **about),
        rate,
    )


def at_rate(song: Song, rate: int) -> Song:
    """The same song, to be read at `rate`."""
    return replace(
        song, rate=rate, samples=common_length((track for tracks in song.stems.values() for track in tracks), rate)
    )


def text_of(path: Path, song: str, problems: list[Problem]) -> str | None:
    """The content of a small text file; None, with a problem, where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "no metadata" if isinstance(error, FileNotFoundError) else "bad metadata"
        problems.append(Problem(song, why, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"))
        return None


def parse(path: Path, text: str) -> Any:
    """JSON, or else YAML. Raises StageError with the place of the fault; MissingExtra without pyyaml."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if path.suffix == ".json":
            raise StageError(f"{path} is not JSON: {error}") from None
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingExtra(f"reading {path.name}", "train") from None
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        # pyyaml's own constructors raise the others, e.g. for a date that does not exist
        raise StageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
