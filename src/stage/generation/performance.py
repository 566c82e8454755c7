"""How a part is played: options that steer the model or change the notes that it made, all off by default.

`Performance` holds and checks them. What they do: `stage.generation.steering` for those that the model or the choice of
its codes follows (complexity, dynamics, fills, the bars that are played, pieces and register), `stage.generation.touch`
for those that change notes (swing, push, tight, humanize, half and double time, and again pieces, register and bars).

Bars count from 1, which begins with the first downbeat; beats before it are bar 0.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Integral, Real
from typing import TYPE_CHECKING

from stage.errors import StageError
from stage.instruments.stems import is_file
from stage.models.playable import GROUPS, INSTRUMENTS, REGISTERS, named

if TYPE_CHECKING:
    from stage.beats.grid import BeatGrid
    from stage.models.events import TimeLine
    from stage.notes import Note

BARS_MOST = 10_000
PUSH_MOST = 100.0
"""Milliseconds by which a part can be played early or late."""
OCTAVE = 11
"""Semitones that a register must span, so that each pitch class has a place in it."""
HALVES: dict[str, dict[str, tuple[int, int]]] = {
    "bass": {"low": (24, 40), "high": (40, 60)},
    "keys": {"low": (36, 59), "high": (60, 88)},
    "guitar": {"low": (40, 57), "high": (57, 81)},
    "pads": {"low": (36, 59), "high": (60, 88)},
}
"""MIDI pitches of the registers that have a name."""


def _pieces() -> dict[str, frozenset[int]]:
    keys = {name: key for group in GROUPS.values() for name, key in group}

    def of(*names: str) -> frozenset[int]:
        return frozenset(keys[name] for name in names)

    made = {group: frozenset(key for _, key in pieces) for group, pieces in GROUPS.items()}
    made |= {name: frozenset([key]) for name, key in keys.items() if name not in made}
    made["toms"] = made["high toms"] | made["low toms"]
    made["cymbals"] = made["ride"] | made["crash"]
    made |= {"kick": of("kick", "kick 2"), "snare": of("snare", "rim shot", "snare 2"), "rim": of("side stick")}
    made |= {"closed hat": of("closed", "closed edge"), "open hat": of("open", "half open"), "pedal hat": of("pedal")}
    made |= {"ride": of("ride", "bell", "ride 2"), "crash": of("crash", "crash 2")}
    made["floor toms"] = of("high floor tom", "low floor tom", "floor tom rim")
    made["congas"] = of("high conga mute", "high conga", "low conga")
    made["bongos"] = of("high bongo", "low bongo")
    return made


PIECES = _pieces()
"""Names of drum pieces, and of sorts of them, that can be left out: their keys."""
COMMON = ("kick", "snare", "rim", "clap", "hats", "open hat", "ride", "crash", "cymbals", "toms", "percussion")


@dataclass(frozen=True)
class Performance:
    """How a part is played. Without any value it is left as the model has it.

    complexity: how much is played, 0 (sparse) to 1 (busy), or a line over bars like "0.3@1 0.8@9", which rises or
        falls evenly from one bar's first beat to the other's. dynamics: how loudly, in the same way.
    fills: a fill in every n-th bar, drums only; 0: where the model wants one. fill_bars: bars that have one too.
    swing: 0 (as it is) to 1 (off-beats on the last third of the beat, or of half a beat where a part has sixteenths).
    push: milliseconds before the beat, negative: behind it. tight: 0 (as played) to 1 (on the grid). humanize: 0 to 1,
        seeded differences of time and velocity.
    without: drum pieces to leave out, by name (`PIECES`). kit: of the drums, a name or an SFZ or SF2 file.
    instrument: the same of the other stems. register: "low", "high", or lowest and highest note, like "E1-G2" or
        "28-43" (C4 is 60); what lies outside is moved by octaves.
    half_time, double_time: the pattern at half or twice its speed over the same bars.
    from_bar, to_bar: first and last bar that is played.

    Raises StageError for what is out of range; `check` for what is of no use to a stem.
    """

    complexity: float | str | None = None
    dynamics: float | str | None = None
    fills: int = 0
    fill_bars: Sequence[int] = ()
    swing: float = 0.0
    push: float = 0.0
    tight: float = 0.0
    humanize: float = 0.0
    without: Sequence[str] = ()
    kit: str | None = None
    instrument: str | None = None
    register: str | None = None
    half_time: bool = False
    double_time: bool = False
    from_bar: int | None = None
    to_bar: int | None = None

    def __post_init__(self) -> None:
        for name, least, most in (("complexity", "sparse", "busy"), ("dynamics", "soft", "loud")):
            curve(name, getattr(self, name), f"0 ({least}) to 1 ({most})")
        for name, words in (
            ("swing", "0 (as it is) to 1 (triplets)"),
            ("tight", "0 (as played) to 1 (on the grid)"),
            ("humanize", "0 (as it is) to 1 (loose)"),
        ):
            _within(name, getattr(self, name), 0, 1, words)
        _within("push", self.push, -PUSH_MOST, PUSH_MOST, "-100 (behind the beat) to 100 (before it), in milliseconds")
        if self.fills != 0:
            _whole("fills", self.fills, "a fill every so many bars, like 4")
        object.__setattr__(self, "fill_bars", tuple(self.fill_bars))
        for bar in self.fill_bars:
            _whole("fill-bars", bar, "bars from 1 on")
        for name in ("from_bar", "to_bar"):
            if (value := getattr(self, name)) is not None:
                _whole(name.replace("_", "-"), value, "a bar from 1 on")
        if self.from_bar and self.to_bar and self.from_bar > self.to_bar:
            raise StageError(
                f"from-bar {self.from_bar} is after to-bar {self.to_bar}: the last bar that is played is to-bar"
            )
        if self.half_time and self.double_time:
            raise StageError("half-time and double-time exclude each other: choose one")
        object.__setattr__(self, "without", _named(self.without))
        if not _KEYS - self.unwanted:
            raise StageError("without leaves no piece to play: name fewer")
        if self.register is not None:
            _register(self.register)

    def check(self, stem: str) -> None:
        """Raise StageError for options that are of no use to a stem, and for a register or an instrument that it has
        not."""
        drums = stem == "drums"
        only = {
            "fills": drums,
            "fill_bars": drums,
            "without": drums,
            "kit": drums,
            "register": not drums,
            "instrument": not drums,
        }
        for name, fits in only.items():
            if getattr(self, name) and not fits:
                other = {"kit": "choose its sound with instrument", "instrument": "choose their sound with kit"}
                raise StageError(
                    f"{name} is of no use to {stem}: "
                    + other.get(name, f"it is for {'the pitched stems' if drums else 'drums'}")
                )
        if self.half_time and stem == "pads":
            raise StageError("half-time is of no use to pads, which begin little but chords: leave it out")
        self.span(stem)
        self.played(stem)

    @property
    def neutral(self) -> bool:
        """Whether nothing is asked for."""
        return all(getattr(self, field.name) in (field.default, ()) for field in fields(self))

    @property
    def changes(self) -> bool:
        """Whether notes are changed when they are made (`apply`), so that the whole part is needed first."""
        names = ("swing", "push", "tight", "humanize", "half_time", "double_time", "without", "register")
        return any(getattr(self, name) for name in (*names, "from_bar", "to_bar"))

    @cached_property
    def unwanted(self) -> frozenset[int]:
        """Keys of the drum pieces that are left out."""
        return frozenset().union(*(PIECES[name] for name in self.without))

    def span(self, stem: str) -> tuple[int, int] | None:
        """Lowest and highest MIDI pitch of the register that is asked for, None where none is."""
        if self.register is None or stem not in REGISTERS:
            return None
        low, high = REGISTERS[stem]
        named = HALVES[stem].get(self.register.strip().lower())
        least, most = named or _register(self.register)
        if max(low, least) + OCTAVE > min(high, most):
            raise StageError(
                f"register {self.register} leaves no octave of what {stem} can play, {note_name(low)} to"
                f" {note_name(high)}: choose low, high or a wider range"
            )
        return max(low, least), min(high, most)

    def file(self, stem: str) -> str | None:
        """The user's SFZ or SF2 file that a stem is played on, None where there is none."""
        name = self.kit if stem == "drums" else self.instrument
        return name if name is not None and is_file(name) else None

    def worded(self, prompt: str, stem: str) -> Performance:
        """The same with the kit or instrument that a prompt names (`stage.models.playable.named`), where none is
        given."""
        if self.kit or self.instrument or (name := named(prompt, stem)) is None:
            return self
        return replace(self, **{"kit" if stem == "drums" else "instrument": name})

    def played(self, stem: str) -> str | None:
        """The model's name of the kit or instrument that is asked for; None where there is none, or it is a file or
        one that the model does not know."""
        name = self.kit if stem == "drums" else self.instrument
        if name is None or self.file(stem) is not None:
            return None
        plain = name.lower().rpartition("/")[2].replace("-", " ")
        if plain in INSTRUMENTS[stem]:
            return plain
        from stage import instruments

        kind = "kits" if stem == "drums" else stem
        shipped = [known.partition("/")[2] for known in instruments.names() if known.startswith(f"{kind}/")]
        if plain.replace(" ", "-") in shipped:
            return None
        known = sorted({*shipped, *(n.replace(" ", "-") for n in INSTRUMENTS[stem])})
        raise StageError(
            f"{'kit' if stem == 'drums' else 'instrument'} {name} is not known for {stem}: choose"
            f" {', '.join(known)}, or a file that ends in .sfz or .sf2"
        )

    def apply(
        self,
        notes: Iterable[Note],
        beats: BeatGrid | TimeLine,
        stem: str,
        seed: int = 0,
        seconds: float | None = None,
    ) -> list[Note]:
        """Notes as they are to be played, sorted: see `stage.generation.touch.play`."""
        from stage.generation import touch

        return touch.play(self, notes, beats, stem, seed, seconds)


_KEYS = frozenset(key for group in GROUPS.values() for _, key in group)


def curve(name: str, value: float | str | None, words: str = "0 to 1") -> tuple[tuple[int, float], ...]:
    """A value or a line over bars, as (bar, value): () for None, one pair for a number.

    Raises StageError, which names the option, for a value out of 0..1 and for what cannot be read.
    """
    if value is None:
        return ()
    how = f"choose {words}, or a line over bars like '0.3@1 0.8@9'"
    made = []
    for part in str(value).split() if isinstance(value, str) else [value]:
        number, _, bar = str(part).partition("@")
        try:
            pair = (int(bar or 1), float(number))
        except ValueError:
            raise StageError(f"{name} cannot be '{value}': {how}") from None
        if not 0 <= pair[1] <= 1 or not 1 <= pair[0] <= BARS_MOST:
            raise StageError(f"{name} cannot be {part}: {how}")
        made.append(pair)
    if not made or (len(made) > 1 and not all("@" in part for part in str(value).split())):
        raise StageError(f"{name} cannot be '{value}': {how}")
    if any(first > second for (first, _), (second, _) in zip(made, made[1:])):
        raise StageError(f"{name} cannot be '{value}': its bars must rise")
    return tuple(made)


def note_name(pitch: int) -> str:
    """Name of a MIDI pitch; 60 is C4."""
    return f"{('C', 'C#', 'D', 'Eb', 'E', 'F', 'F#', 'G', 'Ab', 'A', 'Bb', 'B')[pitch % 12]}{pitch // 12 - 1}"


def _within(name: str, value: float, low: float, high: float, words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        raise StageError(f"{name} cannot be {value}: choose {words}")


def _whole(name: str, value: int, words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= value <= BARS_MOST:
        raise StageError(f"{name} cannot be {value}: choose {words}")


def _named(without: Sequence[str] | str) -> tuple[str, ...]:
    """Names of pieces as `PIECES` has them, from a list or words between commas."""
    parts = without.split(",") if isinstance(without, str) else [p for name in without for p in str(name).split(",")]
    names = [" ".join(re.split(r"[\s_-]+", part.strip().lower())) for part in parts]
    made = []
    for name in filter(None, names):
        found = next(
            (n for n in (name, f"{name}s", name.removesuffix("s"), name.removesuffix("es")) if n in PIECES), None
        )
        if found is None:
            near = difflib.get_close_matches(name, PIECES, n=1, cutoff=0.6)
            raise StageError(
                f'without "{name}" is no drum piece: '
                + (f'did you mean "{near[0]}"? ' if near else "")
                + f"Known are {', '.join(COMMON)} and others"
            )
        made.append(found)
    return tuple(dict.fromkeys(made))


def _register(text: str) -> tuple[int, int]:
    """Lowest and highest pitch of "E1-G2" or "28-43"; those of "low" and "high" depend on the stem: (0, 127)."""
    if text.strip().lower() in ("low", "high"):
        return 0, 127
    parts = re.fullmatch(r"\s*([A-Ga-g][#b]?-?\d|\d+)\s*-\s*([A-Ga-g][#b]?-?\d|\d+)\s*", text)
    if not parts:
        raise StageError(f"register cannot be '{text}': choose low, high, or two notes like E1-G2 or 28-43 (C4 is 60)")
    low, high = (_pitch(part) for part in parts.groups())
    if not 0 <= low <= 127 or not 0 <= high <= 127 or high - low < OCTAVE:
        raise StageError(f"register cannot be '{text}': choose two notes that are an octave apart or more, like E1-G2")
    return low, high


def _pitch(text: str) -> int:
    if text.isdigit():
        return int(text)
    letter, sign, octave = re.fullmatch(r"([A-Ga-g])([#b]?)(-?\d)", text).groups()  # type: ignore[union-attr]
    return 12 * (int(octave) + 1) + "C D EF G A B".index(letter.upper()) + {"#": 1, "b": -1, "": 0}[sign]


def nearest_octave(pitch: int, low: int, high: int) -> int:
    """A pitch moved by octaves into low..high, by as few as do."""
    if pitch < low:
        return pitch + 12 * math.ceil((low - pitch) / 12)
    if pitch > high:
        return pitch - 12 * math.ceil((pitch - high) / 12)
    return pitch


NEUTRAL = Performance()
"""A part as the model has it."""
