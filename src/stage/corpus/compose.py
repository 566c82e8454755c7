"""Draws a whole song: genre, form, harmony, who plays, every note. No audio here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stage.corpus import genres, harmony, parts
from stage.corpus.drums import PATTERNS, Drummer, Groove, draw_groove
from stage.corpus.harmony import pick
from stage.corpus.score import METRES, STEMS, Chord, Metre, Note, Section


@dataclass
class Song:
    """A composed song; beats are counted from bar 0, which may lie before the audio begins."""

    genre: genres.Genre
    metre: Metre
    tempo: float
    feel: str
    swing: float
    key: int
    mode: str
    offset: float
    first_beat: int
    bars: int
    density: dict[str, float]
    sections: list[Section] = field(default_factory=list)
    chords: list[Chord] = field(default_factory=list)
    notes: dict[str, list[Note]] = field(default_factory=dict)
    groove: Groove | None = None
    styles: dict[str, str] = field(default_factory=dict)

    def seconds(self, beat: float) -> float:
        """Time of a beat position: swing moves what lies within a beat, never the beats."""
        whole = np.floor(beat + 1e-9)
        part = beat - whole
        if self.swing != 0.5 and part > 1e-9:
            ratio = self.swing
            part = part / 0.5 * ratio if part < 0.5 else ratio + (part - 0.5) / 0.5 * (1 - ratio)
        return self.offset + (whole + part - self.first_beat) * 60.0 / self.tempo

    @property
    def scale(self) -> tuple[int, ...]:
        return tuple((self.key + x) % 12 for x in harmony.SCALES[self.mode])


def _frame(rng: np.random.Generator, seconds: float) -> Song:
    """Everything that is constant in the song."""
    genre = pick(rng, genres.GENRES, [g.weight for g in genres.GENRES])
    metre = METRES[pick(rng, [m for m, _ in genre.metres], [w for _, w in genre.metres])]
    if not any(name in PATTERNS[metre.name] for name in genre.grooves):
        metre = METRES["4/4"]
    low, high = genre.tempo
    tempo = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if metre.sub == 6:
        tempo = float(np.clip(tempo * 0.62, 60, 118))
    feel = pick(rng, [f for f, _ in genre.feels], [w for _, w in genre.feels])
    if metre.sub == 6:
        feel = "straight"
    swing = {"straight": 0.5, "swing": float(rng.uniform(0.55, 0.67)), "shuffle": float(rng.uniform(0.62, 0.69))}[feel]
    mode = pick(rng, [m for m, _ in genre.modes], [w for _, w in genre.modes])
    cropped = rng.random() < 0.35
    first = int(rng.integers(1, 2 * metre.beats)) if cropped else 0
    bars = int(np.ceil((seconds * tempo / 60 + first) / metre.beats)) + 1
    level = rng.beta(1.1, 1.1)
    density = {s: float(np.clip(0.45 * level + 0.55 * rng.random(), 0.02, 0.98)) for s in STEMS}
    density["drums"] = float(np.clip(rng.random() * 0.85 + 0.15 * level, 0.02, 0.98))
    return Song(
        genre,
        metre,
        round(tempo, 3),
        feel,
        round(swing, 4),
        int(rng.integers(12)),
        mode,
        round(float(rng.uniform(0, 0.5)), 4),
        first,
        bars,
        {s: round(d, 3) for s, d in density.items()},
    )


def _cast(rng: np.random.Generator) -> list[str]:
    """Which stems play at all."""
    playing = [s for s, p in (("drums", 0.97), ("bass", 0.97)) if rng.random() < p]
    others = [s for s, p in (("guitar", 0.66), ("keys", 0.66), ("pads", 0.5)) if rng.random() < p]
    if not others:
        others = [pick(rng, ("guitar", "keys", "pads"))]
    if rng.random() < 0.55:
        others.append("lead")
    return playing + others


def _form(rng: np.random.Generator, song: Song, cast: list[str]) -> list[Section]:
    """Sections over the song's bars, with entries one by one in intros and thinner breaks."""
    lengths = (2, 4, 8) if song.bars > 12 else (2, 4, 4)
    sections: list[Section] = []
    at, kind = 0, "intro" if song.first_beat == 0 and rng.random() < 0.55 else pick(rng, ("verse", "chorus"))
    while at < song.bars:
        bars = int(pick(rng, lengths, (0.15, 0.5, 0.35)))
        bars = min(pick(rng, (2, 4), (0.5, 0.5)), bars) if kind in ("intro", "break") else bars
        energy = {"intro": -0.3, "verse": 0.0, "chorus": 0.35, "bridge": 0.1, "break": -0.4, "outro": -0.2}[kind]
        section = Section(kind, at, bars, energy + float(rng.normal(0, 0.08)))
        if kind == "intro":
            order = [cast[i] for i in rng.permutation(len(cast))]
            step = bars / max(len(order), 1)
            section.enters = {s: int(i * step) for i, s in enumerate(order)} if rng.random() < 0.75 else {}
        elif kind in ("break", "bridge") or (kind == "verse" and rng.random() < 0.3):
            candidates = [s for s in cast if s != "bass"] if kind == "verse" else cast
            gone = {s for s in candidates if rng.random() < (0.45 if kind == "break" else 0.2)}
            section.silent = frozenset(gone if len(gone) < len(cast) else gone - {cast[0]})
        if kind in ("verse", "intro") and rng.random() < 0.5:
            section.silent = section.silent | {"lead"}
        sections.append(section)
        at += bars
        table = {"intro": "vvvc", "verse": "ccbkv", "chorus": "vvkbo", "bridge": "cck", "break": "ccv", "outro": "vk"}[
            kind
        ]
        kind = {"v": "verse", "c": "chorus", "b": "bridge", "k": "break", "o": "outro"}[pick(rng, table)]
    return sections


def _harmonise(rng: np.random.Generator, song: Song, side: int) -> None:
    genre, metre = song.genre, song.metre
    books: dict[str, tuple[list, float]] = {}
    colour = float(np.clip(genre.colour + rng.normal(0, 0.12), 0, 1))
    power = rng.random() < genre.power
    rates = (0.5, 1.0, 2.0) if metre.name != "3/4" else (1.0, 1.0, 2.0)
    weights = (0.18, 0.57, 0.25) if song.tempo < 130 else (0.06, 0.5, 0.44)
    for section in song.sections:
        kind = {"intro": "verse", "outro": "chorus", "break": "verse"}.get(section.kind, section.kind)
        if kind not in books:
            books[kind] = (harmony.progression(rng, song.mode, side, genre.blues), float(pick(rng, rates, weights)))
        steps, bars_each = books[kind]
        song.chords += harmony.lay_out(
            rng,
            steps,
            key=song.key,
            metre=metre,
            first_bar=section.start,
            bars=section.bars,
            bars_each=bars_each,
            colour=colour,
            power=power,
        )


def _section_at(song: Song, bar: int) -> Section:
    return next(s for s in reversed(song.sections) if s.start <= bar)


def _play(rng: np.random.Generator, song: Song, cast: list[str], side: int) -> None:
    genre, metre, density = song.genre, song.metre, song.density
    names = [n for n in genre.grooves if n in PATTERNS[metre.name]]
    song.groove = draw_groove(rng, pick(rng, names), metre, density["drums"], side)
    drummer = Drummer(rng, song.groove, metre)
    song.styles = {"bass": pick(rng, genre.bass), "guitar": pick(rng, genre.guitar), "keys": pick(rng, genre.keys)}
    bassist = parts.Bassist(rng, song.styles["bass"], metre, density["bass"], song.scale)
    guitar = parts.Comper(rng, song.styles["guitar"], metre, density["guitar"], True)
    keys = parts.Comper(rng, song.styles["keys"], metre, density["keys"], False)
    spb = 60.0 / song.tempo
    song.notes = {s: [] for s in cast}
    total = song.sections[-1].start + song.sections[-1].bars
    for bar in range(total):
        section = _section_at(song, bar)
        last = bar == section.start + section.bars - 1
        fill = (
            int(pick(rng, (1, 2, metre.beats), (5, 3, 1)))
            if last and rng.random() < 0.35 + 0.5 * density["drums"]
            else 0
        )
        takes = {
            "drums": lambda: drummer.bar(section, bar, fill=min(fill, metre.beats), first=bar == section.start),
            "bass": lambda: bassist.bar(bar, song.chords, sorted(song.groove.kick[bar % 2])),
            "guitar": lambda: guitar.bar(bar, song.chords, spb),
            "keys": lambda: keys.bar(bar, song.chords, spb),
        }
        for stem, take in takes.items():
            if stem in song.notes and section.plays(stem, bar):
                song.notes[stem] += take()
    whole = {
        "pads": lambda: parts.pads(rng, song.chords, metre, density["pads"]),
        "lead": lambda: parts.melody(rng, song.chords, metre, density["lead"], song.scale, total),
    }
    for stem, take in whole.items():
        if stem in song.notes:
            song.notes[stem] = [
                n
                for n in take()
                if _section_at(song, int(n.beat // metre.beats)).plays(stem, int(n.beat // metre.beats))
            ]


def _stops(rng: np.random.Generator, song: Song) -> None:
    """Now and then everybody, or only the drums, stops for (most of) the last bar of a section."""
    for section in song.sections:
        if section.bars < 2 or rng.random() > 0.22:
            continue
        end = float((section.start + section.bars) * song.metre.beats)
        begin = end - float(pick(rng, (song.metre.beats, song.metre.beats - 1, song.metre.beats / 2), (2, 4, 2)))
        who = pick(rng, ("all", "drums", "but bass", "but drums"), (4, 3, 1, 1))
        for stem in song.notes:
            if who == "drums" and stem != "drums" or who == f"but {stem}":
                continue
            kept = [n for n in song.notes[stem] if not begin - 1e-6 <= n.beat < end - 1e-6]
            song.notes[stem] = [
                n._replace(length=min(n.length, begin - n.beat)) if n.beat < begin < n.beat + n.length else n
                for n in kept
            ]


def compose(rng: np.random.Generator, seconds: float, side: int) -> Song:
    """A song of at least `seconds` seconds; `side` (0 training, 1 held out) is the hash parity of
    its progressions and its groove."""
    song = _frame(rng, seconds)
    cast = _cast(rng)
    song.sections = _form(rng, song, cast)
    _harmonise(rng, song, side)
    _play(rng, song, cast, side)
    _stops(rng, song)
    song.notes = {s: song.notes[s] for s in STEMS if song.notes.get(s)}
    return song
