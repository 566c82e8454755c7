"""Bass lines: roots where chords change, chord tones, approaches, ghost notes, rests; locked to the kick."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stage.corpus.harmony import pick
from stage.corpus.parts import BASS_RHYTHMS, SIX_BASS, Rhythm, chord_at, nearest
from stage.corpus.score import Chord, Metre, Note, Section, lifted, louder

LOW, HIGH = 28, 50
GHOSTLY = ("riff", "lock", "octave", "walk", "reggae", "boogie")
"""Styles with ghost notes: muted strokes between the notes."""
FIXED = ("offbeat", "tumbao")
"""Styles whose rhythm stays when the chord changes."""


class Bassist:
    """Plays a style bar by bar."""

    def __init__(self, rng: np.random.Generator, style: str, metre: Metre, density: float, scale: Sequence[int]):
        self.rng, self.style, self.metre, self.density, self.scale = rng, style, metre, density, scale
        text = BASS_RHYTHMS.get(style, BASS_RHYTHMS["riff"])
        self.rhythms = [Rhythm(rng, text, SIX_BASS, style, metre) for _ in range(2)]
        self.extra = rng.random(metre.steps)
        self.motif = [int(x) for x in rng.integers(0, 5, size=16)]
        self.last = float(rng.integers(31, 41))
        self.legato = float(rng.uniform(0.45, 1.0))
        self.anchor = int(rng.integers(30, 40))
        self.ghosts = float(rng.uniform(0, 0.3)) if style in GHOSTLY and rng.random() < 0.6 else 0.0
        self.slides = float(rng.uniform(0.05, 0.4)) if rng.random() < 0.6 else 0.0
        self.rests = float(rng.uniform(0.02, 0.14)) if style not in ("walk", "sustain") else 0.0

    def bar(
        self,
        bar: int,
        chords: Sequence[Chord],
        kick: Sequence[int],
        section: Section | None = None,
        rising: bool = False,
    ) -> list[Note]:
        """The notes of one bar. kick: steps of the bar drum, which "lock" follows. rising: the next bar begins a
        section with more energy, into which a line may lead."""
        metre, rng, energy = self.metre, self.rng, section.energy if section else 0.0
        begin, density = bar * metre.beats, lifted(self.density, energy)
        steps = self._lock(kick, density) if self.style == "lock" else self.rhythms[bar % 2].steps(density)
        changes = [round((c.start - begin) * metre.sub) for c in chords if begin <= c.start < begin + metre.beats]
        steps = sorted(set(steps) | (set(changes) if self.style not in FIXED else set()))
        if section and self.rests:  # a rest never falls on a new chord
            steps = [s for s in steps if s in changes or s == 0 or rng.random() >= self.rests * (1 - 0.5 * energy)]
        notes = []
        for i, step in enumerate(steps):
            following = steps[i + 1] if i + 1 < len(steps) else metre.steps
            pitch = self._pitch(step, step in changes, begin + step / metre.sub, begin + following / metre.sub, chords)
            length = (following - step) / metre.sub * (self.legato if following - step < metre.sub * 2 else 0.95)
            loud = 104 if step == 0 else (94 if step % metre.sub == 0 else 84)
            notes.append(Note(begin + step / metre.sub, max(length, 0.1), pitch, louder(rng, loud, energy, 5)))
            self.last = 0.7 * pitch + 0.3 * self.anchor
        if section:
            notes = self._ghosts(notes, begin, energy)
            notes = self._slide(notes, begin, chords, energy, rising)
        return notes

    def _lock(self, kick: Sequence[int], density: float) -> list[int]:
        """The kick's steps; few of them where the bass is sparse, eighths between them where it is busy."""
        metre = self.metre
        steps = set(kick) | {0}
        if density < 0.3:
            return sorted(s for s in steps if s % metre.sub == 0)
        if density > 0.6:
            steps |= {s for s in range(0, metre.steps, 2) if self.extra[s] < 0.6 * density}
        return sorted(steps)

    def _ghosts(self, notes: list[Note], begin: float, energy: float) -> list[Note]:
        """Muted strokes, soft and short, on the last pitch: where a step is free before a note."""
        if not self.ghosts or not notes:
            return notes
        step, made = 1 / self.metre.sub, []
        for before, after in zip(notes, notes[1:]):
            at = after.beat - step
            if after.beat - before.beat >= 2 * step - 1e-6 and self.rng.random() < self.ghosts * (1 + energy):
                made.append(before._replace(length=min(before.length, at - before.beat)))
                made.append(Note(at, 0.35 * step, before.pitch, int(self.rng.integers(26, 48))))
            else:
                made.append(before)
        return [*made, notes[-1]]

    def _slide(
        self, notes: list[Note], begin: float, chords: Sequence[Chord], energy: float, rising: bool
    ) -> list[Note]:
        """Into the root of the next bar: one short note a step below or above it, or, where a section with more energy
        follows, a line of eighths that climbs or falls to it."""
        rng, metre = self.rng, self.metre
        end = begin + metre.beats
        now, after = chord_at(chords, end - 0.1), chord_at(chords, end)
        if not notes or self.style in FIXED or now.bass == after.bass:
            return notes
        target = nearest(after.bass, self.last, LOW, HIGH - 2)
        if rising and metre.sub == 4 and rng.random() < 0.25 + 0.3 * max(energy, 0.0):
            way, count = (1 if target > self.last else -1), int(pick(rng, (2, 3)))
            pitches, pitch = [], target
            for _ in range(count):
                pitch -= way
                while pitch % 12 not in self.scale and abs(pitch - target) < 12:
                    pitch -= way
                pitches.insert(0, int(np.clip(pitch, LOW, HIGH)))
            line = [
                Note(end - (count - i) / 2, 0.45, p, louder(rng, 88 + 5 * i, energy, 4)) for i, p in enumerate(pitches)
            ]
            return [*_until(notes, end - count / 2), *line]
        if rng.random() >= self.slides:
            return notes
        at = end - 1 / metre.sub
        pitch = int(np.clip(target + pick(rng, (-1, 1, -2, 2), (4, 2, 3, 1)), LOW, HIGH))
        return [*_until(notes, at), Note(at, 1 / metre.sub, pitch, louder(rng, 82, energy, 5))]

    def _pitch(self, step: int, change: bool, beat: float, following: float, chords: Sequence[Chord]) -> int:
        rng, metre, style = self.rng, self.metre, self.style
        chord = chord_at(chords, beat)
        root = nearest(chord.bass, self.last, 28, 48)
        if change or step == 0 or style in ("eighths", "offbeat", "sustain", "gallop") and rng.random() < 0.93:
            return root
        fifth = chord.pitch_classes[2 if len(chord.pitch_classes) > 2 else 1]
        on_beat = step % metre.sub == 0
        if style in ("bossa", "twobeat", "tumbao", "waltz") or (style == "reggae" and on_beat):
            return nearest(fifth if on_beat and rng.random() < 0.7 else chord.root, self.last, 28, 48)
        if style == "octave":
            return root if on_beat else min(root + 12, 55)
        nxt = chord_at(chords, following)
        if following >= chord.end - 1e-6 and rng.random() < (0.5 if style == "walk" else 0.1):
            target = nearest(nxt.bass, self.last, 28, 48)
            return int(np.clip(target + pick(rng, (-1, 1, -2, 2)), 28, 50))
        if style in ("walk", "boogie"):
            classes = chord.pitch_classes if rng.random() < 0.85 else tuple(self.scale)
            centre = self.last + pick(rng, (-3, 3, 4, -4))
            return nearest(int(pick(rng, classes)), centre, 28, 50)
        degree = self.motif[step % 16]
        if degree <= 2 or (on_beat and degree == 3):
            return root
        return nearest(int(pick(rng, chord.pitch_classes)), self.last + (4 if degree == 4 else 0), 28, 50)


def _until(notes: list[Note], beat: float) -> list[Note]:
    """Notes that begin before a beat, the last one cut there."""
    kept = [n for n in notes if n.beat < beat - 1e-6]
    return [n._replace(length=min(n.length, beat - n.beat)) for n in kept]
