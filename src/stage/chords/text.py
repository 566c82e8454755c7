"""Chords written as text for each bar: "Am F C G", "Am,F C", "| Am . . F | C G |".

Without bar lines each word is a bar; chords that are joined by commas without blanks share one. With bar lines a bar is
what stands between two; its words are equally long, and chords that are joined by commas share the place of one. "."
(or "/") holds the chord before; "%" alone is the bar before. "|:" and ":|" play what is between them twice. "Am, F, C"
and "Am - F - C" are one chord a bar too.
"""

from __future__ import annotations

import math
import re

from stage.beats.grid import BeatGrid
from stage.chords.chart import Bar, Chart, on_bars
from stage.chords.symbols import Chord, parse
from stage.errors import StageError

HOLD, REPEAT = (".", "/"), "%"
MOST_BARS, MOST_CELLS = 10_000, 64
_LINE = re.compile(r"(\|:|:\|:?|\|\]|\|)")
_COMMA = re.compile(r",(?![^(]*\))")
"""A comma outside brackets: that in C7(b9,#11) belongs to the chord."""
EXAMPLE = 'write one a bar, like "Am F C G", or "| Am | F C |"'


def bars(text: str, where: str = "") -> list[Bar]:
    """The bars of a text. where: the file, for messages. Raises StageError that names the bar of what is none."""
    rows = _between_lines(text) if "|" in text else _words(text)
    where = f"{where}, " if where else ""
    made: list[Bar] = []
    begin = 0  # of a part that is repeated
    for row in rows:
        if row == ["|:"]:
            begin = len(made)
        elif row == [":|"]:
            made += made[begin:]
            begin = len(made)
        elif row:
            made.append(_bar(row, made, f"{where}bar {len(made) + 1}"))
        if len(made) > MOST_BARS:
            raise StageError(f"{where}there are more than {MOST_BARS} bars of chords: no song has as many")
    if not made:
        raise StageError(f"{where}there are no chords: {EXAMPLE}")
    return made


def chart(text: str, grid: BeatGrid, seconds: float, where: str = "") -> Chart:
    """A text on the bars of a grid, over `seconds` of music: see `stage.chords.chart.on_bars`."""
    return on_bars(bars(text, where), grid, seconds)


def _words(text: str) -> list[list[str]]:
    """Without bar lines: each word is a bar."""
    words = [word.strip(",;") for word in re.split(r"\s+", text) if word not in ("-", "–", "—", ",", ";")]
    return [[word] for word in words if word]


def _between_lines(text: str) -> list[list[str]]:
    """With bar lines: the words of each bar, and the repeat signs as rows of their own."""
    rows = []
    for part in _LINE.split(text):
        if part in ("|:", ":|"):
            rows.append([part])
        elif part == ":|:":
            rows += [[":|"], ["|:"]]
        elif part not in ("|", "|]"):
            rows.append([word for word in (word.strip(",") for word in part.split()) if word])
    return rows


def _bar(row: list[str], before: list[Bar], where: str) -> Bar:
    """A bar's cells; one that holds the chord of the bar before begins with that chord."""
    if row == [REPEAT] and before:
        return before[-1]
    words = [[part for part in _COMMA.split(word) if part] for word in row]
    each = math.lcm(*map(len, words))  # cells of a word: those of the one that is divided most, or a multiple
    if len(words) * each > MOST_CELLS:
        raise StageError(f"{where} has {sum(map(len, words))} chords: it cannot be divided into so many parts")
    cells: list[Chord | None] = []
    for word in words:
        for part in word:
            cells.append(None if part in (*HOLD, REPEAT) else _chord(part, where))
            cells += [None] * (each // len(word) - 1)
    if cells[0] is None:
        if not before:
            raise StageError(f'{where}: "{row[0]}" holds the chord before, but there is none before it')
        cells[0] = next(cell for cell in reversed(before[-1]) if cell is not None)
    return tuple(cells)


def _chord(word: str, where: str) -> Chord:
    try:
        return parse(word)
    except StageError as error:
        raise StageError(f"{where}: {error}") from None
