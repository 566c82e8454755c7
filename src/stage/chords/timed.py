"""Files of chords with times: .lab, labels of Audacity, tables of spreadsheets, and what `Chart.save` writes.

A chord a line, "start end name", in seconds; or "start name", where each lasts until the next. Fields stand apart by
blanks, tabs, commas or semicolons; a heading and lines that begin with # are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from stage.chords.chart import SHORTEST, Chart, Span
from stage.chords.symbols import Chord, parse
from stage.errors import StageError

EXPECTED = '"start end chord" in seconds'
LONGEST = 24 * 3600.0
"""Seconds beyond which times are in another unit."""
MOST_ROWS = 100_000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)

Row = tuple[int, list[float], str]
"""The line's number, its one or two times, and the chord's name."""


def has_times(text: str) -> bool:
    """Whether the first line that is no heading or comment begins with a time."""
    lines = [line for _, line in _lines(text)][:2]
    return any(_fields(line) is not None for line in lines)


def chart(text: str, where: str, seconds: float | None = None) -> Chart:
    """The chart of a file's text. where: its name, for messages; seconds: of the recording, if known, where a last
    chord without an end ends. Raises StageError that names the line of what cannot be read."""
    rows = list(_rows(text, where))
    if not rows:
        raise StageError(f"{where} has no chords: expected a line for each, {EXPECTED}")
    if len({len(times) for _, times, _ in rows}) > 1:
        number = next(number for number, times, _ in rows if len(times) != len(rows[0][1]))
        raise StageError(f"{where}, line {number}: expected as many times as in the lines before, {EXPECTED}")
    if len(rows[0][1]) == 1:
        rows = _ended(rows, seconds)
    spans: list[Span] = []
    for number, (start, end), name in rows:
        line = f"{where}, line {number}"
        if not (np.isfinite([start, end]).all() and max(start, end) <= LONGEST):
            raise StageError(f"{line}: a chord cannot last from {start:g} to {end:g} s; expected {EXPECTED}")
        if start < 0:
            raise StageError(f"{line}: a chord begins at {start:g} s, before the recording: times count from 0")
        if end < start:
            raise StageError(f"{line}: a chord ends at {end:g} s, before it begins ({start:g} s)")
        if spans and start < spans[-1].end - SHORTEST:
            raise StageError(
                f"{line}: a chord begins at {start:g} s, before the one before it ends ({spans[-1].end:g} s)"
            )
        chord = _chord(name, line)
        start = max(start, spans[-1].end) if spans else start
        if end - start >= SHORTEST:
            spans.append(Span(start, end, chord))
    if not spans:
        raise StageError(f"{where} has no chord that lasts: expected a line for each, {EXPECTED}")
    return Chart(tuple(spans))


def _chord(name: str, line: str) -> Chord:
    try:
        return parse(name)
    except StageError as error:
        raise StageError(f"{line}: {error}") from None


def _ended(rows: list[Row], seconds: float | None) -> list[Row]:
    """Chords that begin at times, with ends: the next one's start; the last lasts to the end, or as long as most."""
    starts = [times[0] for _, times, _ in rows]
    if seconds is not None and seconds > starts[-1]:
        last = seconds
    else:
        last = starts[-1] + (float(np.median(np.diff(starts))) if len(starts) > 1 else 1.0)
    return [(number, [*times, end], name) for (number, times, name), end in zip(rows, [*starts[1:], last])]


def _rows(text: str, where: str) -> Iterator[Row]:
    for place, (number, line) in enumerate(_lines(text)):
        fields = _fields(line)
        if fields is None:
            if place == 0 and not re.match(r"[\d+.-]", line):
                continue  # a heading
            raise StageError(f'{where}, line {number}: expected {EXPECTED}, found "{line[:60]}"')
        if place > MOST_ROWS:
            raise StageError(f"{where} has more than {MOST_ROWS} lines of chords")
        yield number, *fields


def _lines(text: str) -> list[tuple[int, str]]:
    """(number, line) of those that hold something, without comments and Audacity's spectral rows."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in lines if line and line[0] not in "#\\"]


def _fields(line: str) -> tuple[list[float], str] | None:
    """Times (one or two) and the name of a line; None where it has none of either."""
    for between, commas in ((r"[\t;]\s*|\s+", True), (r"\s*,\s*", False)):
        parts = re.split(between, line, maxsplit=2)
        times = []
        for part in parts[:2]:
            number = part.strip('"')
            number = number.replace(",", ".", 1) if commas and "." not in number else number
            if not _NUMBER.fullmatch(number):
                break
            times.append(float(number))
        name = " ".join(re.split(between, line, maxsplit=len(times))[len(times) :]).strip().strip('"')
        if times and name:
            return times, name
    return None
