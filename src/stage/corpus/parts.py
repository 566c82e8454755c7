"""Bass, chords and melody: each part is drawn from a style, a density and the chords of the song."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stage.corpus.harmony import pick
from stage.corpus.score import Chord, Metre, Note

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


def rhythm(
    rng: np.random.Generator, text: str, six: dict[str, str], style: str, metre: Metre, density: float
) -> list[int]:
    """Steps of one bar drawn from the chances of a style: `density` scales all but the certain ones."""
    if metre.sub == 6:
        text = six.get(style) or pick(rng, list(six.values()))
    text = (text * 2)[: metre.steps]
    keep = 0.3 + 1.3 * density
    chosen = []
    for step, digit in enumerate(text):
        if digit == ".":
            continue
        p = int(digit) / 9
        on_beat = step % metre.sub == 0
        p = p * min(1.0, keep + (0.35 if on_beat else 0.0)) if p > 0.85 else min(0.97, p * keep)
        if rng.random() < p or (step == 0 and digit == "9"):
            chosen.append(step)
    if density > 0.7:
        chosen += [s for s in range(metre.steps) if s not in chosen and rng.random() < 0.5 * (density - 0.6)]
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


class Bassist:
    """A bass line: roots where chords change and on strong beats, else chord tones and approaches."""

    def __init__(self, rng: np.random.Generator, style: str, metre: Metre, density: float, scale: Sequence[int]):
        self.rng, self.style, self.metre, self.density, self.scale = rng, style, metre, density, scale
        text = BASS_RHYTHMS.get(style, BASS_RHYTHMS["riff"])
        self.patterns = [rhythm(rng, text, SIX_BASS, style, metre, density) for _ in range(2)]
        self.motif = [int(x) for x in rng.integers(0, 5, size=16)]
        self.last = float(rng.integers(31, 41))
        self.legato = float(rng.uniform(0.45, 1.0))
        self.anchor = int(rng.integers(30, 40))

    def bar(self, bar: int, chords: Sequence[Chord], kick: Sequence[int]) -> list[Note]:
        """The notes of one bar; `kick` holds the steps of the bar drum, which "lock" follows."""
        metre, rng = self.metre, self.rng
        steps = list(self.patterns[bar % 2])
        begin = bar * metre.beats
        if self.style == "lock":
            steps = sorted(set(kick) | {0}) or [0]
            if self.density < 0.3:
                steps = [s for s in steps if s % metre.sub == 0]
            elif self.density > 0.6:
                extra = [s for s in range(0, metre.steps, 2) if s not in steps and rng.random() < 0.6 * self.density]
                steps = sorted(steps + extra)
        changes = [round((c.start - begin) * metre.sub) for c in chords if begin <= c.start < begin + metre.beats]
        steps = sorted(set(steps) | (set(changes) if self.style not in ("offbeat", "tumbao") else set()))
        notes = []
        for i, step in enumerate(steps):
            following = steps[i + 1] if i + 1 < len(steps) else metre.steps
            pitch = self._pitch(step, step in changes, begin + step / metre.sub, begin + following / metre.sub, chords)
            length = (following - step) / metre.sub * (self.legato if following - step < metre.sub * 2 else 0.95)
            loud = 104 if step == 0 else (94 if step % metre.sub == 0 else 84)
            notes.append(
                Note(begin + step / metre.sub, max(length, 0.1), pitch, int(np.clip(loud + rng.normal(0, 5), 30, 127)))
            )
            self.last = 0.7 * pitch + 0.3 * self.anchor
        return notes

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
        if following >= chord.end - 1e-6 and rng.random() < (0.7 if style == "walk" else 0.25):
            target = nearest(nxt.bass, self.last, 28, 48)
            return int(np.clip(target + pick(rng, (-1, 1, -2, 2)), 28, 50))
        if style in ("walk", "boogie"):
            classes = chord.pitch_classes if rng.random() < 0.75 else tuple(self.scale)
            centre = self.last + pick(rng, (-3, 3, 4, -4))
            return nearest(int(pick(rng, classes)), centre, 28, 50)
        degree = self.motif[step % 16]
        if degree <= 2 or (on_beat and degree == 3):
            return root
        return nearest(int(pick(rng, chord.pitch_classes)), self.last + (4 if degree == 4 else 0), 28, 50)


class Comper:
    """Chords on guitar or keys: strums, stabs, blocks, arpeggios, picking, power chords."""

    def __init__(self, rng: np.random.Generator, style: str, metre: Metre, density: float, guitar: bool):
        self.rng, self.style, self.metre, self.density, self.guitar = rng, style, metre, density, guitar
        text = COMP_RHYTHMS.get(style, COMP_RHYTHMS["block"])
        self.patterns = [rhythm(rng, text, SIX_COMP, style, metre, density) for _ in range(2)]
        self.centre = float(rng.integers(54, 66))
        self.size = int(rng.integers(3, 6))
        self.legato = (
            float(rng.uniform(0.3, 1.0))
            if style not in ("chop", "stabs", "funk16", "offbeats")
            else float(rng.uniform(0.15, 0.5))
        )
        self.order = pick(rng, ("up", "down", "updown", "random"))
        self.spread = float(rng.uniform(0.008, 0.03)) if guitar else float(rng.uniform(0, 0.008))

    def voicing(self, chord: Chord) -> list[int]:
        """Pitches around the centre, moving little from chord to chord."""
        if self.style in ("power", "gallop", "boogie") and self.guitar:
            root = nearest(chord.root, 44, 38, 50)
            top = [root + 12] if self.density > 0.4 else []
            return [root, root + 7, *top]
        classes = chord.pitch_classes
        pitches = sorted({nearest(pc, self.centre + (i - 1.5) * 2, 43, 84) for i, pc in enumerate(classes)})
        while len(pitches) < self.size:
            pitches.append(pitches[len(pitches) - len(classes)] + 12)
        return pitches[: max(self.size, 3)]

    def bar(self, bar: int, chords: Sequence[Chord], seconds_per_beat: float) -> list[Note]:
        """The notes of one bar."""
        if self.style in ("arp", "pick"):
            return self._broken(bar, chords)
        metre, rng = self.metre, self.rng
        begin = bar * metre.beats
        steps = list(self.patterns[bar % 2])
        changes = [round((c.start - begin) * metre.sub) for c in chords if begin <= c.start < begin + metre.beats]
        if self.style in ("block", "strum", "power", "quarters", "riff"):
            steps = sorted(set(steps) | set(changes))
        notes = []
        for i, step in enumerate(steps):
            following = steps[i + 1] if i + 1 < len(steps) else metre.steps
            beat = begin + step / metre.sub
            pitches = self.voicing(chord_at(chords, beat))
            down = step % (metre.sub // 2) == 0
            if self.style == "montuno":
                pitches = [pitches[0], pitches[0] + 12] if i % 2 else pitches[1:]
            if self.style == "boogie" and self.guitar and (step // 2) % 2 == 1:
                pitches[1] = pitches[1] + 2
            if not down and self.style in ("strum", "funk16"):
                pitches = pitches[-3:]
            loud = 96 if step == 0 else (86 if step % metre.sub == 0 else 74)
            length = max((following - step) / metre.sub * self.legato, 0.12)
            ordered = pitches if down else pitches[::-1]
            for n, pitch in enumerate(ordered):
                late = n * self.spread / seconds_per_beat
                notes.append(Note(beat + late, length, pitch, int(np.clip(loud + rng.normal(0, 5), 20, 127))))
        return notes

    def _broken(self, bar: int, chords: Sequence[Chord]) -> list[Note]:
        metre, rng = self.metre, self.rng
        begin = bar * metre.beats
        unit = metre.sub if self.density < 0.2 else (2 if self.density < 0.75 or metre.sub == 6 else 1)
        notes = []
        for i, step in enumerate(range(0, metre.steps, unit)):
            if i and rng.random() < 0.25 * (1 - self.density):
                continue
            beat = begin + step / metre.sub
            chord = chord_at(chords, beat)
            pitches = self.voicing(chord)
            k, n = (i, len(pitches))
            index = {
                "up": k % n,
                "down": n - 1 - k % n,
                "updown": min(k % (2 * n - 2), 2 * n - 2 - k % (2 * n - 2)),
                "random": int(rng.integers(n)),
            }
            chosen = [pitches[index[self.order]]]
            if self.style == "pick" and step % metre.sub == 0:
                chosen = [nearest(chord.bass, 47, 40, 54)]
                if rng.random() < 0.3:
                    chosen.append(pitches[-1])
            loud = 92 if step == 0 else (82 if step % metre.sub == 0 else 70)
            hold = 1.5 if self.guitar else 1.1
            for pitch in chosen:
                notes.append(Note(beat, unit / metre.sub * hold, pitch, int(np.clip(loud + rng.normal(0, 6), 20, 127))))
        return notes


def pads(rng: np.random.Generator, chords: Sequence[Chord], metre: Metre, density: float) -> list[Note]:
    """Sustained chords that change with the harmony; restruck every beat or half bar when dense."""
    centre, size = float(rng.integers(58, 70)), int(rng.integers(2, 5))
    restrike = metre.beats if density < 0.5 else (metre.beats / 2 if density < 0.8 else 1.0)
    notes = []
    for chord in chords:
        pitches = sorted({nearest(pc, centre + (i - 1) * 3, 48, 86) for i, pc in enumerate(chord.pitch_classes)})[:size]
        centre = 0.6 * centre + 0.4 * float(np.clip(np.mean(pitches), 56, 72))
        at = chord.start
        while at < chord.end - 1e-6:
            stop = chord.end if density < 0.25 else min(chord.end, at + restrike)
            for pitch in pitches:
                notes.append(Note(at, (stop - at) * 0.99, pitch, int(np.clip(84 + rng.normal(0, 5), 20, 120))))
            at = stop
    return notes


def melody(
    rng: np.random.Generator, chords: Sequence[Chord], metre: Metre, density: float, scale: Sequence[int], bars: int
) -> list[Note]:
    """Phrases of two bars with rests: chord tones on the beats, scale steps between, motifs that return."""
    low = int(rng.integers(57, 65))
    high, pitch = low + 19, float(low + 8)
    chances = "8.4.6.5.5.4.6.4." if metre.sub == 4 else "8.4.4.7.4.4."
    motifs = [rhythm(rng, chances, {"m": chances}, "m", metre, 0.1 + 0.8 * density) for _ in range(3)]
    notes: list[Note] = []
    for bar in range(bars):
        if bar % 2 == 0:
            resting = rng.random() < 0.45 - 0.35 * density
        if resting or (bar % 4 == 3 and rng.random() < 0.4):
            continue
        steps = motifs[int(pick(rng, (0, 1, 2), (0.6, 0.25, 0.15)))]
        for i, step in enumerate(steps):
            beat = bar * metre.beats + step / metre.sub
            chord = chord_at(chords, beat)
            pool = chord.pitch_classes if step % metre.sub == 0 else tuple(set(scale) | set(chord.pitch_classes[:3]))
            pitch += rng.normal(0, 2.5) + 0.15 * (low + 9 - pitch)
            note = nearest(int(min(pool, key=lambda pc: abs((pc - pitch + 6) % 12 - 6))), pitch, low - 3, high)
            following = steps[i + 1] if i + 1 < len(steps) else metre.steps
            length = (following - step) / metre.sub * 0.92
            notes.append(Note(beat, min(length, 3.0), note, int(np.clip(90 + rng.normal(0, 7), 30, 125))))
            pitch = float(note)
    return notes
