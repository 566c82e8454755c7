"""Chords on guitar, keys and pads: each voicing is the one that moves least from the last, within the stem's room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stage.corpus.harmony import pick
from stage.corpus.parts import COMP_RHYTHMS, SIX_COMP, Rhythm, chord_at, nearest
from stage.corpus.score import Chord, Metre, Note, Section, lifted, louder


class Voicer:
    """Voicings of `size` notes between `low` and `high`: close or opened positions, least movement first.

    What a pitch of the last voicing moves to is the pitch of the same rank, so parts do not cross. A voicing far from
    the centre of the room costs a little, so that a long song does not drift.
    """

    def __init__(self, size: int, low: int, high: int, open_position: float = 0.0):
        self.size, self.low, self.high, self.wide = size, low, high, open_position
        self.centre = (low + high) / 2
        self.last: list[int] | None = None

    def __call__(self, chord: Chord) -> list[int]:
        """Rising pitches for the chord. Asked again for the same chord it gives the same."""
        options = self._options(chord.pitch_classes)
        self.last = min(options, key=lambda pitches: (self._cost(pitches), pitches))
        return list(self.last)

    def _options(self, classes: Sequence[int]) -> list[list[int]]:
        needed = list(classes)
        if len(needed) > self.size:  # the bass has the root, and the fifth says least
            order = [1, 3, 4, 2, 0] if len(needed) > 4 else [1, 3, 0, 2]
            needed = [classes[i] for i in order if i < len(classes)][: self.size]
        made = []
        for lowest in range(self.low, self.high - 3):
            if lowest % 12 not in needed:
                continue
            ring = sorted(needed, key=lambda pc: (pc - lowest) % 12)
            ring = [lowest + (pc - lowest) % 12 for pc in ring]
            close = (ring + [p + 12 for p in ring] + [p + 24 for p in ring])[: self.size]
            made.append(close)
            if len(close) > 3:  # the second voice from above an octave lower
                made.append(sorted([*close[:-2], close[-2] - 12, close[-1]]))
            elif len(close) == 3:  # the middle voice an octave higher
                made.append(sorted([close[0], close[2], close[1] + 12]))
        inside = [m for m in made if m[0] >= self.low and m[-1] <= self.high]
        return inside or [min(made, key=lambda m: max(m[-1] - self.high, 0) + max(self.low - m[0], 0))]

    def _cost(self, pitches: list[int]) -> float:
        drift = abs(float(np.mean(pitches)) - self.centre)
        spread = pitches[-1] - pitches[0]
        shape = 0.08 * abs(spread - (9 + 8 * self.wide))
        if self.last is None:
            return drift + shape
        moved = [abs(a - b) for a, b in zip(pitches, self.last)] or [0]
        more = abs(len(pitches) - len(self.last))
        return float(np.mean(moved)) + 0.05 * max(moved) + 0.12 * drift + shape + more


class Comper:
    """Chords on guitar or keys: strums, stabs, blocks, arpeggios, picking, power chords."""

    def __init__(
        self,
        rng: np.random.Generator,
        style: str,
        metre: Metre,
        density: float,
        guitar: bool,
        room: tuple[int, int] = (50, 74),
    ):
        """room: the lowest and highest pitch of its voicings."""
        self.rng, self.style, self.metre, self.density, self.guitar = rng, style, metre, density, guitar
        text = COMP_RHYTHMS.get(style, COMP_RHYTHMS["block"])
        self.rhythms = [Rhythm(rng, text, SIX_COMP, style, metre) for _ in range(2)]
        full = guitar and style in ("strum", "boomchick", "quarters")
        size = int(pick(rng, (4, 5), (1, 1))) if full else int(pick(rng, (3, 4, 5), (4, 4, 1)))
        self.voicer = Voicer(size, *room, float(rng.random()) if guitar or rng.random() < 0.3 else 0.0)
        short = style in ("chop", "stabs", "funk16", "offbeats")
        self.legato = float(rng.uniform(0.15, 0.5)) if short else float(rng.uniform(0.3, 1.0))
        self.order = pick(rng, ("up", "down", "updown", "random"))
        self.spread = float(rng.uniform(0.008, 0.03)) if guitar else float(rng.uniform(0, 0.008))
        self.voiced: tuple[Chord, list[int]] | None = None

    def voicing(self, chord: Chord) -> list[int]:
        """Pitches of the chord; they stay while it lasts."""
        if self.style in ("power", "gallop", "boogie") and self.guitar:
            root = nearest(chord.root, 44, 38, 50)
            top = [root + 12] if self.density > 0.4 else []
            fifth = root + (7 if (chord.root + 7) % 12 in chord.pitch_classes or len(chord.pitch_classes) < 3 else 6)
            return [root, fifth, *top]
        if self.voiced is None or self.voiced[0] is not chord:
            self.voiced = (chord, self.voicer(chord))
        return list(self.voiced[1])

    def bar(
        self,
        bar: int,
        chords: Sequence[Chord],
        seconds_per_beat: float,
        section: Section | None = None,
        busy: float = 0.0,
    ) -> list[Note]:
        """The notes of one bar. busy: 0..1, how much of the bar the lead plays: where it does, there are fewer."""
        metre, rng, energy = self.metre, self.rng, section.energy if section else 0.0
        density = lifted(self.density, energy) * (1 - 0.35 * busy)
        if self.style in ("arp", "pick"):
            return self._broken(bar, chords, density, energy)
        begin = bar * metre.beats
        steps = self.rhythms[bar % 2].steps(density)
        changes = [round((c.start - begin) * metre.sub) for c in chords if begin <= c.start < begin + metre.beats]
        if self.style in ("block", "strum", "power", "quarters", "riff"):
            steps = sorted(set(steps) | set(changes))
        notes = []
        for i, step in enumerate(steps):
            following = steps[i + 1] if i + 1 < len(steps) else metre.steps
            beat = begin + step / metre.sub
            chord = chord_at(chords, beat)
            pitches = self.voicing(chord)
            down = step % (metre.sub // 2) == 0
            if self.style == "montuno":
                pitches = [pitches[0], pitches[0] + 12] if i % 2 else pitches[1:]
            if self.style == "boogie" and self.guitar and (step // 2) % 2 == 1:
                pitches[1] = pitches[1] + 2
            if not down and self.style in ("strum", "funk16"):
                pitches = pitches[-3:]
            loud = 96 if step == 0 else (86 if step % metre.sub == 0 else 74)
            length = max((following - step) / metre.sub * self.legato, 0.12)
            length = min(length, max(chord.end - beat, 0.12))
            ordered = pitches if down else pitches[::-1]
            for n, pitch in enumerate(ordered):
                late = n * self.spread / seconds_per_beat
                notes.append(Note(beat + late, length, pitch, louder(rng, loud, energy, 5)))
        return notes

    def _broken(self, bar: int, chords: Sequence[Chord], density: float, energy: float) -> list[Note]:
        metre, rng = self.metre, self.rng
        begin = bar * metre.beats
        unit = metre.sub if density < 0.2 else (2 if density < 0.75 or metre.sub == 6 else 1)
        notes = []
        for i, step in enumerate(range(0, metre.steps, unit)):
            if i and rng.random() < 0.25 * (1 - density):
                continue
            beat = begin + step / metre.sub
            chord = chord_at(chords, beat)
            pitches = self.voicing(chord)
            n = len(pitches)
            index = {
                "up": i % n,
                "down": n - 1 - i % n,
                "updown": min(i % (2 * n - 2), 2 * n - 2 - i % (2 * n - 2)),
                "random": int(rng.integers(n)),
            }
            chosen = [pitches[index[self.order]]]
            if self.style == "pick" and step % metre.sub == 0:
                chosen = [nearest(chord.bass, 47, 40, 54)]
                if rng.random() < 0.3:
                    chosen.append(pitches[-1])
            loud = 92 if step == 0 else (82 if step % metre.sub == 0 else 70)
            hold = min(unit / metre.sub * (1.5 if self.guitar else 1.1), max(chord.end - beat, 0.1))
            notes += [Note(beat, hold, pitch, louder(rng, loud, energy, 6)) for pitch in chosen]
        return notes


def pads(
    rng: np.random.Generator,
    chords: Sequence[Chord],
    metre: Metre,
    density: float,
    energies: Sequence[float] | None = None,
    room: tuple[int, int] = (52, 76),
) -> list[Note]:
    """Sustained chords that change with the harmony; restruck every bar, half bar or beat when dense. energies: of each
    bar."""
    voicer = Voicer(int(rng.integers(2, 5)), *room, float(rng.random()))
    notes = []
    for chord in chords:
        bar = int(chord.start // metre.beats)
        energy = energies[min(bar, len(energies) - 1)] if energies else 0.0
        full = lifted(density, energy)
        restrike = metre.beats if full < 0.5 else (metre.beats / 2 if full < 0.8 else 1.0)
        pitches = voicer(chord)
        at = chord.start
        while at < chord.end - 1e-6:
            stop = chord.end if full < 0.25 else min(chord.end, at + restrike)
            notes += [Note(at, (stop - at) * 0.99, p, louder(rng, 84, energy, 5)) for p in pitches]
            at = stop
    return notes
