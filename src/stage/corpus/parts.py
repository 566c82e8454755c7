"""Rhythms of the styles, and the melody: drawn from a style, a density and the chords of the song."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stage.corpus.harmony import pick
from stage.corpus.score import Chord, Metre, Note, lifted, louder

# chance digits (ninths) of sixteenth steps of one 4/4 bar; other metres are cut from their beats
BASS_RHYTHMS = {
    "eighths": "9.8.9.8.9.8.9.8.",
    "riff": "9..5.23.6.3.4.32",
    "octave": "9.8.9.8.9.8.9.8.",
    "offbeat": "..9...9...9...9.",
    "synth": "8676867686768676",
    "walk": "9...9.1.9...9..1",
    "twobeat": "9...2...9...3...",
    "sustain": "9.....2.3.......",
    "bossa": "9.....8.9.....8.",
    "tumbao": "5.....9.....9...",
    "reggae": "9..4..6.5...6.3.",
    "boogie": "9.8.9.8.9.8.9.8.",
    "gallop": "9.989.989.989.98",
    "waltz": "9...1...2...",
}
COMP_RHYTHMS = {
    "strum": "9.4.7.66.37.6.5.",
    "quarters": "9...9...9...9...",
    "stabs": "6..5..4.3.5..43.",
    "chop": "....9.......9...",
    "bubble": "..9.4.9...9.4.9.",
    "offbeats": "..9...9...9...9.",
    "charleston": "8.....7.1.4...4.",
    "bossacomp": "8.3.7..6.4.7..5.",
    "funk16": "6354463545364635",
    "block": "9.......4.......",
    "power": "9.8.8.8.9.8.8.8.",
    "gallop": "9.989.989.989.98",
    "riff": "9..6.4.5.46..43.",
    "boogie": "9.8.9.8.9.8.9.8.",
    "montuno": "9.6.6..6.6.6..6.",
    "boomchick": "..2.9...2...9...",
    "waltz": "....9...9...",
}
# the same for two beats of six steps
SIX_BASS = {
    "sustain": "9.......3...",
    "eighths": "9.8.8.9.8.8.",
    "walk": "9...7.9...7.",
    "riff": "9...5.6.3.4.",
    "waltz": "9.....7.....",
}
SIX_COMP = {"strum": "9.5.6.8.5.6.", "quarters": "9.....9.....", "block": "9.....3.....", "stabs": "6...5.4.5.3."}


class Rhythm:
    """One bar's rhythm of a style. What is drawn is drawn once, so that a fuller bar has all steps of a sparser one."""

    def __init__(self, rng: np.random.Generator, text: str, six: dict[str, str], style: str, metre: Metre):
        """text: chances (ninths) of sixteenth steps of one 4/4 bar; six: those of two beats of six, by style."""
        if metre.sub == 6:
            text = six.get(style) or pick(rng, list(six.values()))
        self.text, self.metre = (text * 2)[: metre.steps], metre
        self.first, self.second = rng.random((2, metre.steps))

    def steps(self, density: float) -> list[int]:
        """The steps at a density (0..1), which scales all chances but the certain ones."""
        keep, sub = 0.3 + 1.3 * density, self.metre.sub
        chosen = set()
        for step, digit in enumerate(self.text):
            if digit == ".":
                continue
            p = int(digit) / 9
            p = p * min(1.0, keep + (0.35 if step % sub == 0 else 0.0)) if p > 0.85 else min(0.97, p * keep)
            if self.first[step] < p or (step == 0 and digit == "9"):
                chosen.add(step)
        if density > 0.7:
            chosen |= {s for s in range(self.metre.steps) if self.second[s] < 0.5 * (density - 0.6)}
        return sorted(chosen)


def chord_at(chords: Sequence[Chord], beat: float) -> Chord:
    """The chord that sounds at a beat."""
    for chord in reversed(chords):
        if chord.start <= beat + 1e-6:
            return chord
    return chords[0]


def nearest(pitch_class: int, centre: float, low: int, high: int) -> int:
    """The pitch of a pitch class nearest to `centre` within [low, high]."""
    options = [p for p in range(low, high + 1) if p % 12 == pitch_class]
    return min(options, key=lambda p: abs(p - centre))


def melody(
    rng: np.random.Generator,
    chords: Sequence[Chord],
    metre: Metre,
    density: float,
    scale: Sequence[int],
    bars: int,
    energies: Sequence[float] | None = None,
    low: int = 60,
) -> list[Note]:
    """Phrases of two bars with rests and pickups: chord tones on the beats, scale steps between, motifs that return.

    energies: of each bar. low: about the lowest pitch.
    """
    high, pitch = low + 19, float(low + 8)
    chances = "8.4.6.5.5.4.6.4." if metre.sub == 4 else "8.4.4.7.4.4."
    motifs = [Rhythm(rng, chances, {"m": chances}, "m", metre) for _ in range(3)]
    pickups = float(rng.uniform(0, 0.6))
    notes: list[Note] = []
    resting = False
    for bar in range(bars):
        energy = energies[min(bar, len(energies) - 1)] if energies else 0.0
        before = resting
        if bar % 2 == 0:
            resting = rng.random() < 0.45 - 0.35 * density - 0.2 * energy
        if resting or (bar % 4 == 3 and rng.random() < 0.4):
            continue
        steps = motifs[int(pick(rng, (0, 1, 2), (0.6, 0.25, 0.15)))].steps(0.1 + 0.8 * lifted(density, energy))
        if bar % 2 == 0 and bar and rng.random() < pickups * (1.0 if before else 0.4):
            count = int(pick(rng, (1, 2, 3)))
            notes = [n for n in notes if n.beat < bar * metre.beats - count * 0.5 - 1e-6]
            steps = [-(count - i) * metre.sub // 2 for i in range(count)] + steps
        for i, step in enumerate(steps):
            beat = bar * metre.beats + step / metre.sub
            chord = chord_at(chords, beat)
            pool = chord.pitch_classes if step % metre.sub == 0 else tuple(set(scale) | set(chord.pitch_classes[:3]))
            pitch += rng.normal(0, 2.5) + 0.15 * (low + 9 - pitch)
            note = nearest(int(min(pool, key=lambda pc: abs((pc - pitch + 6) % 12 - 6))), pitch, low - 3, high)
            following = steps[i + 1] if i + 1 < len(steps) else metre.steps
            length = (following - step) / metre.sub * 0.92
            notes.append(Note(beat, min(length, 3.0), note, louder(rng, 90, energy, 7)))
            pitch = float(note)
    return [
        n._replace(length=min(n.length, after.beat - n.beat)) if after else n
        for n, after in zip(notes, [*notes[1:], None])
    ]
