"""Chord symbols: what musicians write ("F#m7b5", "Bb/D", "N.C.") and the syntax of .lab files ("F#:hdim7", "N").

Every set of intervals above a root has one name that is read back as that set: a quality of `QUALITIES`, or one with
what is added and left out ("C7(add13)(no5)").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stage.audio.chroma import PITCH_CLASSES
from stage.errors import StageError

QUALITIES = {
    "": ((0, 4, 7), "maj"),
    "m": ((0, 3, 7), "min"),
    "7": ((0, 4, 7, 10), "7"),
    "maj7": ((0, 4, 7, 11), "maj7"),
    "m7": ((0, 3, 7, 10), "min7"),
    "6": ((0, 4, 7, 9), "maj6"),
    "m6": ((0, 3, 7, 9), "min6"),
    "5": ((0, 7), "5"),
    "sus4": ((0, 5, 7), "sus4"),
    "sus2": ((0, 2, 7), "sus2"),
    "7sus4": ((0, 5, 7, 10), "sus4(b7)"),
    "7sus2": ((0, 2, 7, 10), "sus2(b7)"),
    "dim": ((0, 3, 6), "dim"),
    "dim7": ((0, 3, 6, 9), "dim7"),
    "m7b5": ((0, 3, 6, 10), "hdim7"),
    "aug": ((0, 4, 8), "aug"),
    "(b5)": ((0, 4, 6), "maj(*5,b5)"),
    "7#5": ((0, 4, 8, 10), "aug(b7)"),
    "maj7#5": ((0, 4, 8, 11), "aug(7)"),
    "m(maj7)": ((0, 3, 7, 11), "minmaj7"),
    "add9": ((0, 4, 7, 2), "maj(9)"),
    "m(add9)": ((0, 3, 7, 2), "min(9)"),
    "69": ((0, 4, 7, 9, 2), "maj6(9)"),
    "m69": ((0, 3, 7, 9, 2), "min6(9)"),
    "9": ((0, 4, 7, 10, 2), "9"),
    "maj9": ((0, 4, 7, 11, 2), "maj9"),
    "m9": ((0, 3, 7, 10, 2), "min9"),
    "9sus4": ((0, 5, 7, 10, 2), "sus4(b7,9)"),
    "m11": ((0, 3, 7, 10, 2, 5), "min11"),
    "maj7#11": ((0, 4, 7, 11, 6), "maj7(#11)"),
    "13": ((0, 4, 7, 10, 2, 9), "9(13)"),
    "maj13": ((0, 4, 7, 11, 2, 9), "maj9(13)"),
    "m13": ((0, 3, 7, 10, 2, 5, 9), "min13"),
    "13sus4": ((0, 5, 7, 10, 2, 9), "sus4(b7,9,13)"),
    "7b9": ((0, 4, 7, 10, 1), "7(b9)"),
    "7#9": ((0, 4, 7, 10, 3), "7(#9)"),
    "7b5": ((0, 4, 6, 10), "7(*5,b5)"),
    "7#11": ((0, 4, 7, 10, 6), "7(#11)"),
    "7b13": ((0, 4, 7, 10, 8), "7(b13)"),
    "7alt": ((0, 4, 10, 1, 3, 6, 8), "7(*5,b5,#5,b9,#9)"),
    "1": ((0,), "1"),
}
"""Semitones above the root, and the name in .lab files, of each quality."""

NONE, UNKNOWN = "N.C.", "X"
"""Symbols without a root: nothing sounds that has one; what sounds cannot be named."""
KNOWN = "known are symbols like Am, F#m7b5, Bbmaj7, C/E, G7sus4, and N.C."

_LETTERS = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11)))
_STEPS = dict(zip(range(1, 8), (0, 2, 4, 5, 7, 9, 11)))
_NAMED = {frozenset(intervals): name for name, (intervals, _) in reversed(QUALITIES.items())}
_DEGREES = ("1", "b9", "9", "#9", "3", "11", "#11", "5", "b13", "13", "b7", "7")
"""How each interval is called where it is added to a chord or left out."""
_BASSES = ("1", "b2", "2", "b3", "3", "4", "b5", "5", "b6", "6", "b7", "7")
_HARTE = {
    **{harte: QUALITIES[name][0] for name, (_, harte) in reversed(QUALITIES.items()) if "(" not in harte},
    "11": (0, 4, 7, 10, 2, 5),
    "maj11": (0, 4, 7, 11, 2, 5),
    "13": (0, 4, 7, 10, 2, 5, 9),
    "maj13": (0, 4, 7, 11, 2, 5, 9),
    "aug7": (0, 4, 8, 10),
    "minmaj9": (0, 3, 7, 11, 2),
    "": (),
}

_ROOT = re.compile(r"([A-G])([b#]*)")
_DEGREE = re.compile(r"([b#]*)(\d{1,2})")
_MARKS = {
    "♭": "b",
    "♯": "#",
    "𝄫": "bb",
    "𝄪": "##",
    "–": "-",
    "−": "-",
    "°": "o",
    "º": "o",
    "∆": "^",
    "Δ": "^",
    "△": "^",
}
_TRIADS = (
    (r"maj(?!\d)|Maj(?!\d)|MAJ(?!\d)|major", (0, 4, 7)),
    (r"minor|min|Min|MIN|mi(?!n)|m(?!a(?!dd)|A)|-(?![59])", (0, 3, 7)),
    (r"hdim|Ø|ø|h(?=7|$)", (0, 3, 6, 10)),
    (r"dim|o", (0, 3, 6)),
    (r"aug|\+(?![59])", (0, 4, 8)),
    (r"dom(?=\d)", (0, 4, 7)),
)
_TOKEN = re.compile(
    r"sus(?P<sus>24|2|4)?|add(?P<add>[b#]*\d+|maj7)|(?:omit|no)(?P<omit>\d+)|(?P<alt>alt)"
    r"|(?P<maj>maj|Maj|MAJ|ma|Ma|MA|M|j|\^)(?P<height>13|11|9|7)?"
    r"|(?P<sign>[b#+-])(?P<altered>13|11|9|6|5)|(?P<six>6/9|69)|(?P<number>13|11|9|7|6|5|4|2)|(?P<plus>\+)$"
)


@dataclass(frozen=True)
class Chord:
    """A chord as it is written.

    name: the symbol, "N.C." without a chord. root: 0 (C) .. 11, or -1 without a chord. classes: pitch classes that
    sound, root first, the bass among them. bass: the lowest one, or -1.
    """

    name: str
    root: int = -1
    classes: tuple[int, ...] = ()
    bass: int = -1

    @property
    def lab(self) -> str:
        """The name in .lab files: "A:min7/b3"."""
        if self.root < 0:
            return "X" if self.name == UNKNOWN else "N"
        root, _, quality, bass = _spelled(self.name)
        base, added, missing = _parts(frozenset(_intervals(quality, self.name)))
        harte, _, changes = QUALITIES[base][1].rstrip(")").partition("(")
        minor = 3 in QUALITIES[base][0]
        changes = [*filter(None, [changes]), *(_DEGREES[x] for x in added)]
        changes += ["*b3" if x == "3" and minor else f"*{x}" for x in missing]
        harte += f"({','.join(changes)})" if changes else ""
        return f"{root}:{harte}" + (f"/{_BASSES[(self.bass - self.root) % 12]}" if bass else "")

    def transpose(self, semitones: int) -> Chord:
        """The chord higher by `semitones` (lower if negative), in the usual spelling."""
        if self.root < 0 or semitones % 12 == 0:
            return self
        bass = None if self.bass == self.root else (self.bass + semitones) % 12
        intervals = [(pitch - self.root) % 12 for pitch in self.classes]
        if bass is not None:
            intervals = list(_intervals(_spelled(self.name)[2], self.name))
        return named((self.root + semitones) % 12, intervals, bass)


NO_CHORD = Chord(NONE)


def parse(text: str) -> Chord:
    """The chord of a symbol, of either syntax. Raises StageError, one line with the symbol, for what cannot be read."""
    written = _plain(text)
    if written.upper().replace(".", "") in ("N", "NC") or written == "NoChord":
        return NO_CHORD
    if written.upper() == UNKNOWN:
        return Chord(UNKNOWN)
    root_name, rest = _root_of(written, text)
    if rest.startswith(":") or re.match(r"/[b#]*\d", rest):
        return _harte(root_name, rest.removeprefix(":"), text)
    quality, slash, bass_name = _split_bass(rest)
    intervals = _intervals(quality, text)
    bass = None
    if slash:
        bass_name, left = _root_of(bass_name, text)
        if left:
            raise _unreadable(text, f'"{_shown(left)}" after the bass')
        bass = _pitch(bass_name)
    return named(_pitch(root_name), intervals, bass, root_name, bass_name)


def named(
    root: int, intervals: Sequence[int], bass: int | None = None, root_name: str = "", bass_name: str = ""
) -> Chord:
    """The chord of these semitones above a root, over a bass that may be another pitch class.

    root_name, bass_name: their spelling, where it is not to be the usual one.
    """
    root, bass = root % 12, None if bass is None else bass % 12
    root_name = root_name or PITCH_CLASSES[root]
    name = root_name + _quality(frozenset(x % 12 for x in intervals) | {0})
    intervals = _ordered(intervals)
    if bass is None or bass == root:
        return Chord(name, root, tuple((root + x) % 12 for x in intervals), root)
    classes = tuple((root + x) % 12 for x in intervals)
    if bass not in classes:
        classes += (bass,)
    return Chord(f"{name}/{bass_name or PITCH_CLASSES[bass]}", root, classes, bass)


# ---------------------------------------------------------------- reading


def _plain(text: str) -> str:
    """A symbol in ASCII, without blanks."""
    for mark, plain in _MARKS.items():
        text = text.replace(mark, plain)
    return "".join(text.split())


def _root_of(written: str, text: str) -> tuple[str, str]:
    """(spelling of the root, the rest). text: the whole symbol, for the message."""
    found = _ROOT.match(written)
    if found and len(found[2]) < 3:
        return found[0], written[found.end() :]
    first = written[:1]
    if first == "H":
        raise _unreadable(text, "H is German for B: write B (and Bb where a German chart has B)")
    if first and first in "abcdefgh":
        raise _unreadable(text, f"roots are capital letters, like {first.upper().replace('H', 'B')}m for a minor chord")
    raise _unreadable(text)


def _unreadable(text: str, why: str = "") -> StageError:
    return StageError(f'"{_shown(text)}" is not a chord: {why or KNOWN}')


def _shown(text: str) -> str:
    """What was written, for a message of one line."""
    return "".join(c if c.isprintable() else "?" for c in (text if len(text) <= 40 else text[:37] + "..."))


def _pitch(name: str) -> int:
    return (_LETTERS[name[0]] + name.count("#") - name[1:].count("b")) % 12


def _split_bass(rest: str) -> tuple[str, str, str]:
    """Quality, slash and bass of what follows the root; the slash of 6/9 belongs to the quality."""
    quality, slash, bass = rest.rpartition("/")
    if not slash or (bass[:1] == "9" and quality.endswith("6")):
        return rest, "", ""
    return quality, slash, bass


def _spelled(name: str) -> tuple[str, int, str, str]:
    """Root's name, root, quality and bass's name of a chord's own name."""
    root, rest = _root_of(name, name)
    quality, _, bass = _split_bass(rest)
    return root, _pitch(root), quality, bass


def _intervals(quality: str, text: str) -> tuple[int, ...]:
    """Semitones above the root of a quality like "m7b5"."""
    if quality in QUALITIES:
        return QUALITIES[quality][0]
    tones: dict[str, int] = {}
    rest = re.sub(r"[(),\[\]]", "", quality)
    triad, flat_seventh = (0, 4, 7), 10
    for pattern, intervals in _TRIADS:
        if found := re.match(pattern, rest):
            triad, rest = intervals, rest[found.end() :]
            break
    tones = dict(zip(("1", "3", "5", "7"), triad))
    if triad == (0, 3, 6):
        flat_seventh = 9
    seen: set[str] = set()
    while rest:
        found = _TOKEN.match(rest)
        kind = next((key for key, value in found.groupdict().items() if value), "sus") if found else ""
        if not found or (kind in seen and kind not in ("add", "omit", "sign", "altered")):
            raise _unreadable(text, f'"{_shown(rest)}" is not understood; {KNOWN}')
        seen.add(kind)
        if not _apply(tones, found, flat_seventh, quality):
            raise _unreadable(text, f'"{_shown(found[0])}" does not fit there; {KNOWN}')
        rest = rest[found.end() :]
    return _ordered(list(tones.values()))


def _apply(tones: dict[str, int], found: re.Match[str], seventh: int, quality: str) -> bool:
    """Change the tones of a chord (by degree) as a token of its quality asks; whether that makes sense."""
    token = found.groupdict()
    if found[0].startswith("sus"):
        tones.pop("3", None)
        tones.update({"24": {"2": 2, "4": 5}, "2": {"2": 2}}.get(token["sus"], {"4": 5}))
    elif token["add"]:
        semitones = 11 if token["add"] == "maj7" else _semitones(token["add"])
        if semitones is None:
            return False
        tones["add" + token["add"]] = semitones
    elif token["omit"]:
        return tones.pop(token["omit"], None) is not None and token["omit"] != "1"
    elif token["alt"]:
        tones.pop("5", None)
        tones.update({"7": 10, "b9": 1, "#9": 3, "b5": 6, "#5": 8})
    elif token["maj"]:
        _stack(tones, int(token["height"] or 7), 11)
    elif token["altered"]:
        degree, semitones = int(token["altered"]), -1 if token["sign"] in "b-" else 1
        if degree in (5, 9):
            tones.pop(str(degree), None)
        tones[token["sign"] + str(degree)] = _STEPS[(degree - 1) % 7 + 1] + semitones
    elif token["plus"]:
        tones["5"] = 8
    elif token["six"]:
        tones.update({"6": 9, "9": 2})
    elif token["number"] == "5":
        if set(tones) != {"1", "3", "5"} or tones["3"] != 4:
            return False
        tones.pop("3")
    elif token["number"] in ("2", "4"):
        if token["number"] == "4":
            tones.pop("3", None)
        tones[token["number"]] = 2 if token["number"] == "2" else 5
    elif token["number"] == "6":
        tones["6"] = 9
    else:
        _stack(tones, int(token["number"]), tones["7"] if "7" in tones else seventh)
    return True


def _stack(tones: dict[str, int], height: int, seventh: int) -> None:
    """Thirds up to the 7th, 9th, 11th or 13th, as they are played: 11ths and major thirds leave each other out."""
    tones["7"] = seventh
    if height >= 9 and not {"b9", "#9", "-9", "+9"} & set(tones):
        tones["9"] = 2
    if height == 11 or (height == 13 and tones.get("3") == 3):
        tones["11"] = 5
        if tones.get("3") == 4:
            tones.pop("3")
    if height == 13:
        tones["13"] = 9


def _semitones(degree: str) -> int | None:
    """Semitones of a degree like "b13" above the root, 0..11; None for what is none."""
    found = _DEGREE.fullmatch(degree)
    if not found or not 1 <= int(found[2]) <= 15:
        return None
    return (_STEPS[(int(found[2]) - 1) % 7 + 1] + found[1].count("#") - found[1].count("b")) % 12


def _harte(root_name: str, rest: str, text: str) -> Chord:
    """The chord of "ROOT:QUALITY(DEGREES)/DEGREE", the root already read (Harte and others, ISMIR 2005)."""
    rest, slash, bass_degree = rest.partition("/")
    found = re.fullmatch(r"([A-Za-z0-9]*)(?:\(([^()]*)\))?", rest)
    bass = _semitones(bass_degree) if slash else 0
    if found is None or found[1] not in _HARTE or bass is None:
        raise _unreadable(text, f"not the syntax of .lab files, like A:min7; {KNOWN}")
    tones = list(_HARTE[found[1]] if rest else QUALITIES[""][0])
    for degree in filter(None, (found[2] or "").split(",")):
        semitones = _semitones(degree.removeprefix("*"))
        if semitones is None:
            raise _unreadable(text, f'"{_shown(degree)}" is not a degree, like b7')
        if degree.startswith("*"):
            tones = [x for x in tones if x != semitones]
        else:
            tones.append(semitones)
    root = _pitch(root_name)
    return named(root, tones, root + bass, root_name)


# ---------------------------------------------------------------- writing


def _ordered(intervals: Sequence[int]) -> tuple[int, ...]:
    """Each interval once: in the order of its quality, else rising; the root always."""
    tones = frozenset(x % 12 for x in intervals) | {0}
    name = _NAMED.get(tones)
    return tuple(sorted(tones)) if name is None else QUALITIES[name][0]


def _quality(tones: frozenset[int]) -> str:
    """The name of a set of intervals."""
    base, added, missing = _parts(tones)
    return base + "".join(f"(add{_DEGREES[x]})" for x in added) + "".join(f"(no{x})" for x in missing)


def _parts(tones: frozenset[int]) -> tuple[str, list[int], list[str]]:
    """(quality, intervals that are added, degrees that are left out) of a set of intervals: the nearest quality."""
    if tones in _NAMED:
        return _NAMED[tones], [], []

    def cost(name: str) -> tuple[int, int]:
        has = frozenset(QUALITIES[name][0])
        return len(tones - has) + 2 * len(has - tones), -len(has)

    left_out = {3: "3", 4: "3", 7: "5"}
    fitting = [
        name
        for name, (intervals, _) in QUALITIES.items()
        if name not in ("7alt", "(b5)", "1", "5") and all(x in left_out for x in set(intervals) - tones)
    ]
    base = min(fitting, key=cost)
    has = frozenset(QUALITIES[base][0])
    return base, sorted(tones - has), [left_out[x] for x in sorted(has - tones)]
