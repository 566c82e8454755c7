"""Beat files as people have them: what `BeatGrid.save` writes, and what editors, spreadsheets and Audacity make of it.

One beat a line, "seconds number". Fields stand apart by blanks, tabs, commas or semicolons; decimals have a point or
a comma; a heading, comments (#) and further columns are left out; Audacity's labels ("start end label") are read where
the label is the number. A file that can be read in two ways is refused: a wrong grid is worse than none.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from stage import text_files
from stage.errors import StageError

HIGHEST_NUMBER = 99
"""Beats a bar beyond which a column holds something else: tempi, say."""
LONGEST_GAP = 60.0
"""Seconds between most beats beyond which the times are not in seconds."""
LARGEST_FILE = 64 * 2**20

DIVISION = re.compile(r"#\s*parts of a beat:\s*([1-9])\b")
"""The comment that keeps a grid's division (`stage.beats.grid.BeatGrid`)."""

Rows = list[tuple[int, str]]
"""Lines with something in them, and their numbers from 1."""
Beats = tuple[np.ndarray, np.ndarray]
"""times float64 [n] in seconds, numbers int64 [n]."""


def rows(path: Path) -> tuple[Rows, int]:
    """The lines of a beat file, without comments and the lines that hold nothing else, and the grid's division.

    Any line ends, with or without a byte order mark. Raises StageError for what cannot be read or is not text.
    """
    text = text_files.read(path, "the beat grid", "a file of beats", 'one "seconds number" a line', LARGEST_FILE)
    kept = ((count, line.split("#")[0].strip()) for count, line in enumerate(text.splitlines(), 1))
    lines = [(count, line) for count, line in kept if line and not line.startswith("\\")]  # Audacity's spectral rows
    parts = DIVISION.search(text)
    return lines, int(parts[1]) if parts else 1


def readings(path: Path, lines: Rows) -> list[Beats]:
    """Every way in which all lines can be read; StageError that names the first bad line where there is none."""
    if not lines:
        return [(np.zeros(0), np.zeros(0, np.int64))]
    found, furthest, first = [], -1, lines[0]
    if len(lines) > 1 and not any(character.isdigit() for character in first[1]):
        lines = lines[1:]  # a heading
    for split in (_blanks, _blanks_decimal_commas, _commas, _commas_decimal_commas):
        table = []
        for place, (_, line) in enumerate(lines):
            fields = split(line)
            if fields is None:
                furthest = max(furthest, place)
                break
            table.append(fields)
        else:
            whole_seconds = not any("." in line for _, line in lines)
            found += _columns(table, strict=whole_seconds and split in (_commas, _commas_decimal_commas))
            furthest = max(furthest, _first_bad(table))
    if not found:
        count, line = lines[furthest] if furthest > 0 else first
        raise StageError(f'{path}, line {count}: expected "seconds number", found "{line[:60]}"')
    return found


def check_unit(path: Path, times: np.ndarray) -> None:
    """StageError for times that cannot be seconds."""
    if len(times) > 2 and np.median(np.diff(times)) > LONGEST_GAP:
        raise StageError(
            f'{path}: the beats are {np.median(np.diff(times)):g} apart; expected "seconds number" a line, not'
            " milliseconds or samples"
        )


# ---------------------------------------------------------------- fields


def _blanks(line: str) -> list[float] | None:
    return _numbers(re.split(r"[\s;]+|,\s+", line))


def _blanks_decimal_commas(line: str) -> list[float] | None:
    if "." in line:
        return None
    return _numbers(re.sub(r",(?=\d)", ".", line).replace(",", " ").replace(";", " ").split())


def _commas(line: str) -> list[float] | None:
    return _numbers(line.split(",")) if not re.search(r"[\s;]", line) else None


def _commas_decimal_commas(line: str) -> list[float] | None:
    """As spreadsheets of some countries write it without quotes: "0,5,1"."""
    whole = re.fullmatch(r"(-?\d+),(\d+),(\d+)", line)
    return _numbers([f"{whole[1]}.{whole[2]}", whole[3]]) if whole else None


def _numbers(fields: list[str]) -> list[float] | None:
    """The leading numbers of a line, at least two; None where there are fewer."""
    found = []
    for field in fields:
        try:
            found.append(float(field.strip('"')))
        except ValueError:
            break
    return found if len(found) > 1 else None


# ---------------------------------------------------------------- columns


def _columns(table: list[list[float]], strict: bool) -> list[Beats]:
    """Beats as "time number ..." and as "start end number" (labels); strict: numbers must count bars."""
    times, ends = (np.array([row[column] for row in table]) for column in (0, 1))
    found = [(times, ends.astype(np.int64))] if _are_numbers(ends) and (_count(ends) or not strict) else []
    if all(len(row) > 2 for row in table):
        labels = np.array([row[2] for row in table])
        if _are_numbers(labels) and _count(labels) and (ends >= times).all():
            # labels of points: the end is the start, whatever number it looks like
            found = [(times, labels.astype(np.int64))] + (found if (ends > times).any() else [])
    return found


def _are_numbers(column: np.ndarray) -> bool:
    return bool(((column == np.round(column)) & (np.abs(column) <= HIGHEST_NUMBER)).all())


def _count(numbers: np.ndarray) -> bool:
    """Whether each number is 1 or one more than that before it."""
    return bool(((numbers[1:] == 1) | (numbers[1:] == numbers[:-1] + 1)).all() and (numbers > 0).all())


def _first_bad(table: list[list[float]]) -> int:
    """The first line whose second field is not a place in the bar; 0 if there is none."""
    return next((place for place, row in enumerate(table) if not _are_numbers(np.array(row[1:2]))), 0)
