"""Drum parts: a groove is drawn from step probabilities, then played with fills and variation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stage.corpus.harmony import pick
from stage.corpus.score import Metre, Note, Section, lifted, louder, parity

KICK, STICK, SNARE, CLAP, CLOSED, PEDAL, OPEN = 36, 37, 38, 39, 42, 44, 46
CRASH, RIDE, BELL, TAMBOURINE, COWBELL = 49, 51, 53, 54, 56
TOMS = (50, 48, 47, 45, 43, 41)
SHAKER, CLAVES, CONGAS = 70, 75, (62, 63, 64)


@dataclass(frozen=True)
class Pattern:
    """Chances (digit / 9) of each step for kick and backbeat; who keeps time; what is added.

    `time`: closed, open_off, ride, ride_swing, shaker, ticks. `back`: the drum of the backbeat.
    """

    kick: str
    snare: str
    time: str = "closed"
    back: int = SNARE
    extra: tuple[tuple[int, str], ...] = ()


# sixteenth steps; 3/4 and 6/8 have twelve of them (6/8: two beats of six)
PATTERNS = {
    "4/4": {
        "rock": Pattern("9..1..3.62.5..2.", "....9.......9..1"),
        "pop": Pattern("9.....4.6.4...2.", "....9.......9..."),
        "half": Pattern("9..1.2.3..4...3.", "..1.....9..1...1"),
        "ballad": Pattern("9......3.4......", "....8.......8...", "closed"),
        "four": Pattern("9...9..19...9.2.", "....8..1....8..2", "open_off", CLAP),
        "techno": Pattern("9...9..19...9.12", "....5..1....5..1", "open_off", CLAP, ((CLOSED, "..3...3...3...3."),)),
        "disco": Pattern("9...9..19...9.2.", "....9..1....9.12", "open_off"),
        "funk": Pattern("9.2..13.2.7..3.2", "....9..3.2..9..2", "closed"),
        "hiphop": Pattern("9.1..2.4..6..3.1", "....9.......9..1", "closed"),
        "trap": Pattern("9......3..6...2.", "........9.......", "closed", CLAP),
        "swing": Pattern("8...3...5...3...", "..1..12.1..1.21.", "ride_swing", SNARE, ((PEDAL, "....9.......9..."),)),
        "bossa": Pattern("9.....7.7.....7.", "8..8..8...8..8..", "closed", STICK),
        "samba": Pattern("9..6...68..6...6", "..4..4.4.4..4.4.", "shaker", STICK),
        "latin": Pattern(
            "9.....6.3.....6.",
            "....3.......3...",
            "ticks",
            STICK,
            ((CONGAS[0], "..5...5...5...5."), (CONGAS[2], "......7.......99"), (COWBELL, "9...8...8...8...")),
        ),
        "songo": Pattern("8.....7.......7.", "....6..4....6...", "ticks", SNARE, ((COWBELL, "8.8.8.8.8.8.8.8."),)),
        "onedrop": Pattern("6.....1.9.....1.", "...1....9.....1.", "closed", STICK),
        "steppers": Pattern("9...8...9...8.1.", "..1.....9..1..1.", "closed", STICK),
        "rockers": Pattern("9.....3.8.....3.", "....8.......8...", "closed", STICK),
        "train": Pattern("9.......8.......", "5.5.9.5.5.5.9.5.", "ticks"),
        "twobeat": Pattern("9.....1.8..1..2.", "....9..1....9..1", "closed"),
        "metal": Pattern("9.4.5.4.7.4.5.4.", "....9.......9...", "ride"),
        "thrash": Pattern("9.2.3.2.8.2.3.2.", "..8...8...8...8.", "ride"),
        "motown": Pattern("9..3..3.7..3..2.", "9...9...9...9...", "closed"),
        "break": Pattern("9.5...1..57...1.", "....9..4.4..9..4", "ride"),
        "dnb": Pattern("9.2......29.....", "....9..2.2..9..1", "closed"),
        "dembow": Pattern("9...9..19...9.1.", "...8..8....8..8.", "closed"),
        "shuffle": Pattern("9.....4.7.....3.", "....9.......9...", "ride"),
        "ambient": Pattern("9.........3.....", "........5.......", "ticks", STICK),
    },
    "3/4": {
        "waltz": Pattern("9......1..1.", "....8..18..1", "closed"),
        "jazzwaltz": Pattern("9.....2.3...", "..1..22..12.", "ride_swing", SNARE, ((PEDAL, "....9...3..."),)),
        "rock3": Pattern("9..1..3.3.2.", "....5...9...", "closed"),
        "slow3": Pattern("9.....2...2.", "....2...9...", "closed", STICK),
        "folk3": Pattern("9.......2...", "....6...7...", "shaker"),
    },
    "6/8": {
        "slow68": Pattern("9...3...2.3.", "......9.....", "closed"),
        "rock68": Pattern("9..12..2..4.", "......9....1", "ride"),
        "ballad68": Pattern("9..1....2.3.", "......8...1.", "closed", STICK),
        "afro68": Pattern("9...5..3..5.", "......5...4.", "ticks", STICK, ((COWBELL, "9.9.9..9.9.9"),)),
        "jig": Pattern("9...3.6.....", "....4.7...4.", "shaker"),
    },
}


@dataclass(frozen=True)
class Groove:
    """Two bars of kick and backbeat as sets of steps, and everything that is constant in a song."""

    pattern: Pattern
    kick: tuple[frozenset[int], frozenset[int]]
    snare: tuple[frozenset[int], frozenset[int]]
    extra: tuple[tuple[int, frozenset[int]], ...]
    density: float
    swell: float
    name: str

    def signature(self) -> str:
        """Names the groove; its hash decides which split may use it."""
        return self.name + repr([sorted(x) for x in (*self.kick, *self.snare)])


def _chance(digit: str, density: float) -> float:
    if digit == ".":
        return 0.0
    p = int(digit) / 9
    return p if p > 0.85 else min(0.95, p * (0.15 + 1.5 * density))


def draw_groove(rng: np.random.Generator, name: str, metre: Metre, density: float, side: int) -> Groove:
    """A groove of the named pattern, as full as `density` (0..1), whose hash has the parity `side`."""
    pattern = PATTERNS[metre.name][name]
    while True:  # every pattern has variants of both parities (tested)
        lift = 1.0 if rng.random() < 0.7 else 1.4

        def bar(text: str) -> frozenset[int]:
            return frozenset(i for i, c in enumerate(text) if rng.random() < _chance(c, density) * lift)

        def second(first: frozenset[int], text: str) -> frozenset[int]:
            other = bar(text)
            return frozenset(
                i for i in first | other if (i in first) == (i in other) or (rng.random() < 0.5) == (i in first)
            )

        kick, snare = bar(pattern.kick), bar(pattern.snare)
        groove = Groove(
            pattern,
            (kick, second(kick, pattern.kick)),
            (snare, second(snare, pattern.snare)),
            tuple((drum, bar(text)) for drum, text in pattern.extra if rng.random() < 0.3 + 0.7 * density),
            density,
            float(rng.uniform(0.2, 1.0)),
            name,
        )
        if parity(groove.signature()) == side:
            return groove
        density = float(np.clip(density + rng.normal(0, 0.02), 0.02, 0.98))


def _time_steps(rng: np.random.Generator, pattern: Pattern, metre: Metre, density: float) -> dict[int, float]:
    """Steps of the timekeeper (hat, ride, shaker) -> loudness 0..1, by density."""
    sub = metre.sub
    beats = {b * sub: 0.9 if b % 2 == 0 else 0.75 for b in range(metre.beats)}
    if density < 0.1:
        return {} if pattern.time != "ride_swing" else beats
    if pattern.time == "open_off" and density < 0.75:
        return {b * sub + sub // 2: 0.95 for b in range(metre.beats)}
    if pattern.time == "ride_swing":
        skips = [b * sub + sub // 2 for b in range(metre.beats) if b % 2 == 1 or density > 0.8]
        return beats | ({s: 0.6 for s in skips} if density > 0.25 else {})
    if density < 0.3:
        return beats
    eighth = 2 if sub == 6 else sub // 2
    steps = beats | {s: 0.6 for s in range(0, metre.steps, eighth) if s not in beats}
    if density > 0.55:
        chance = min(1.0, (density - 0.5) * 2.6)
        steps |= {s: 0.45 for s in range(metre.steps) if s not in steps and rng.random() < chance}
    return steps


def _fill(rng: np.random.Generator, metre: Metre, beat: float, beats: int, density: float) -> list[Note]:
    """A fill over the last `beats` beats of a bar that starts at `beat`."""
    start = metre.beats - beats
    unit = 1 / (metre.sub // 2 if density < 0.5 else metre.sub)
    notes, toms = [], list(TOMS)
    first = int(rng.integers(0, 3))
    kind = pick(rng, ("toms", "snare", "mixed"))
    count = int(round(beats / unit))
    for i in range(count):
        if rng.random() > 0.55 + 0.4 * density:
            continue
        tom = toms[min(first + i * 4 // max(count, 1), 5)]
        drum = SNARE if kind == "snare" or (kind == "mixed" and rng.random() < 0.45) else tom
        notes.append(Note(beat + start + i * unit, 0.2, drum, int(70 + 40 * i / count + rng.integers(-8, 9))))
        if i * unit % 1 == 0 and rng.random() < 0.5:
            notes.append(Note(beat + start + i * unit, 0.2, KICK, 95))
    return notes


class Drummer:
    """Plays a groove bar by bar."""

    def __init__(self, rng: np.random.Generator, groove: Groove, metre: Metre):
        self.rng, self.groove, self.metre = rng, groove, metre
        self.ride_in_chorus = rng.random() < 0.4
        self.crashes = rng.random() < 0.85
        self.tambourine = rng.random() < 0.15

    def bar(self, section: Section, bar: int, *, fill: int, first: bool) -> list[Note]:
        """The notes of one bar. `fill`: beats of fill at its end; `first`: a section starts here."""
        rng, metre, groove = self.rng, self.metre, self.groove
        density = lifted(groove.density, section.energy)
        begin, limit = bar * metre.beats, metre.steps - fill * metre.sub
        notes: list[Note] = []

        def hit(step: float, drum: int, velocity: float) -> None:
            if step < limit and velocity > 0:
                notes.append(Note(begin + step / metre.sub, 0.2, drum, louder(rng, velocity, section.energy, 3.5)))

        for step in groove.kick[bar % 2]:
            beat = step % metre.sub == 0
            hit(step, KICK, 118 if step == 0 else (96 if beat else 82))
        if density > 0.5 and rng.random() < 0.25 * density:
            hit(int(rng.integers(1, metre.steps)), KICK, 76)
        for step in groove.snare[bar % 2]:
            strong = groove.pattern.snare[step] in "6789"
            hit(step, groove.pattern.back, 104 if strong else 52)
        if density > 0.55 and groove.pattern.back == SNARE:
            for step in range(metre.steps):
                if step not in groove.snare[bar % 2] and rng.random() < 0.28 * (density - 0.45):
                    hit(step, SNARE, 32)
        for drum, steps in groove.extra:
            for step in steps:
                hit(step, drum, 78)
        self._time(section, density, hit)
        if first and self.crashes and section.kind != "intro" or (first and rng.random() < 0.3):
            hit(0, CRASH if rng.random() < 0.7 else 57, 108)
        if fill:
            notes += _fill(rng, metre, begin, fill, density)
        return notes

    def last(self, beat: float) -> list[Note]:
        """The stroke that ends the song."""
        crash = [Note(beat, 0.5, CRASH, 112)] if self.groove.density > 0.2 or self.crashes else []
        return [Note(beat, 0.5, KICK, 112), *crash]

    def _time(self, section: Section, density: float, hit) -> None:
        rng, pattern, sub = self.rng, self.groove.pattern, self.metre.sub
        ride = pattern.time.startswith("ride") or (self.ride_in_chorus and section.kind == "chorus")
        drum = {"shaker": SHAKER, "ticks": CLOSED}.get(pattern.time, RIDE if ride else CLOSED)
        for step, loud in _time_steps(rng, pattern, self.metre, density).items():
            if rng.random() < 0.03:
                continue
            voice = drum
            if pattern.time == "open_off" and step % sub == sub // 2 and density >= 0.3:
                voice = OPEN
            elif drum == CLOSED and step % sub == sub // 2 and rng.random() < 0.05 * (1 + density):
                voice = OPEN
            accent = 1.0 if step == 0 else loud
            hit(step, voice, 40 + 50 * accent * (0.75 + 0.25 * self.groove.swell))
        if self.tambourine and density > 0.35:
            for beat in range(1, self.metre.beats, 2):
                hit(beat * sub, TAMBOURINE, 70)
