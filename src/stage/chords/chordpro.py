"""ChordPro files (https://www.chordpro.org): lyrics with [chords], directives in {braces}, grids.

The format has no bars but in its grids, so what lies between bar lines is a bar where a line has some, and elsewhere
each chord is one. Chords of {start_of_chorus} are repeated at {chorus}; {capo: 2} and {transpose: 2} are obeyed.
"""

from __future__ import annotations

import re

from stage.chords import text
from stage.chords.chart import Bar
from stage.chords.symbols import parse
from stage.errors import StageError

SUFFIXES = (".cho", ".crd", ".chopro", ".chordpro", ".chord", ".pro")
ASSUMED = "one chord a bar was assumed, as the file has no bar lines: write | Am | F C | to say more"
_DIRECTIVE = re.compile(r"\{\s*([\w-]+)\s*[: ]?\s*(.*?)\s*\}$")
_CHORD = re.compile(r"\[([^\]\[]*)\]")
_SKIPPED = ("tab", "abc", "ly", "svg", "textblock")
"""Sections whose lines are no lyrics."""
_SHORT = {"soc": "start_of_chorus", "eoc": "end_of_chorus", "sot": "start_of_tab", "eot": "end_of_tab"}
_SHORT |= {"sog": "start_of_grid", "eog": "end_of_grid", "sov": "start_of_verse", "eov": "end_of_verse"}


def bars(written: str, where: str) -> tuple[list[Bar], tuple[str, ...]]:
    """(bars of a file's text, remarks about what was assumed). Raises StageError that names bar and chord."""
    lines = _lines(written, where)
    if not lines:
        raise StageError(f"{where} has no chords in [brackets] and no grid")
    joined = " | ".join(line.strip("| ") if ":" not in line else line for line, _ in lines)
    made = text.bars(f"| {joined} |", where)
    return made, ((ASSUMED,) if not any(barred for _, barred in lines) else ())


def _lines(written: str, where: str) -> list[tuple[str, bool]]:
    """(bars between bar lines, whether the bar lines are the file's own) of each line that has chords."""
    made: list[tuple[str, bool]] = []
    section, chorus, shift, open_chorus = "", [], 0, None
    for line in written.splitlines():
        line = line.strip()
        if line.startswith("#"):
            continue
        if found := _DIRECTIVE.match(line):
            name, value = _SHORT.get(found[1].lower(), found[1].lower()), found[2]
            if name in ("capo", "transpose"):
                shift += _semitones(value, f"{where}: {{{name}}}")
            elif name == "chorus":
                made += chorus
            elif name == "start_of_chorus":
                open_chorus = len(made)
            elif name == "end_of_chorus" and open_chorus is not None:
                chorus, open_chorus = made[open_chorus:], None
            elif name.startswith("start_of_"):
                section = name.removeprefix("start_of_")
            elif name.startswith("end_of_"):
                section = ""
            continue
        if section in _SKIPPED:
            continue
        found = _grid(line) if section == "grid" else _lyrics(line)
        if found:
            made.append((_moved(found, shift, where), "|" in line))
    return made


def _lyrics(line: str) -> str:
    """The chords of a line of lyrics between bar lines."""
    kept = [
        word
        for word in re.findall(r"\[[^\]\[]*\]|\|:|:\||\|", line)
        if not word.startswith("[*") and word != "[]"  # annotations
    ]
    if not any(word.startswith("[") for word in kept):
        return ""
    words = [_CHORD.sub(lambda m: "".join(m[1].split()), word) for word in kept]
    return " ".join(words) if "|" in line else " | ".join(words)


def _grid(line: str) -> str:
    """A line of a grid, without the labels outside its first and last bar line."""
    found = re.search(r"\|.*\|", line)
    if not found:
        return ""
    line = re.sub(r"\|\d+(?=[>\s])>?|\|S\b", "|", found[0])  # numbers of endings
    return line.replace("||", "|").replace("%%", "% | %").replace("~", ",")


def _moved(line: str, semitones: int, where: str) -> str:
    """The chords of a line, higher by semitones."""
    if not semitones % 12:
        return line
    words = []
    for word in line.split():
        if word in (*text.HOLD, text.REPEAT, "|", "|:", ":|", "|]"):
            words.append(word)
            continue
        try:
            words.append(",".join(parse(chord).transpose(semitones).name for chord in word.split(",")))
        except StageError as error:
            raise StageError(f"{where}: {error}") from None
    return " ".join(words)


def _semitones(value: str, where: str) -> int:
    found = re.fullmatch(r"([+-]?\d{1,2})[sfk]?", value.strip())
    if not found:
        raise StageError(f'{where} is "{value[:40]}": expected a number of semitones')
    return int(found[1])
