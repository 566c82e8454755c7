"""Draws a whole song: genre, form, harmony, who plays, every note. No audio here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stage.corpus import form, genres, harmony, parts
from stage.corpus.bass import Bassist
from stage.corpus.comping import Comper, Voicer, pads
from stage.corpus.drums import PATTERNS, Drummer, Groove, draw_groove
from stage.corpus.grooves import EARLY
from stage.corpus.harmony import pick
from stage.corpus.human_drums import Drummers, Take
from stage.corpus.score import METRES, STEMS, Chord, Metre, Note, Section, louder, swung

VERSION = 2
"""Of the composer, written into song.json: the same seed gives the same song under the same version. Songs of version 1
(without the entry) have no endings, no voice leading and no energy of sections."""


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
    rooms: dict[str, tuple[int, int]] = field(default_factory=dict)
    closing: int | None = None
    take: Take | None = None

    def seconds(self, beat: float) -> float:
        """Time of a beat position: swing moves what lies within a beat, never the beats."""
        whole = np.floor(beat + 1e-9)
        part = beat - whole
        if self.swing != 0.5 and part > 1e-9:
            part = swung(part, self.swing)
        return self.offset + (whole + part - self.first_beat) * 60.0 / self.tempo

    def played(self, stem: str, beat: float) -> float:
        """Time at which a stem plays what stands at a beat: with a human drummer, the drums as they were played, the
        bass with the kick, the others with the drummer's feel."""
        if self.take is None:
            return self.seconds(beat)
        if stem == "drums":
            return self.offset + (beat - self.first_beat) * 60.0 / self.tempo
        return self.seconds(beat) + self.take.late(stem, beat, self.metre) * 60.0 / self.tempo

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


def _harmonise(rng: np.random.Generator, song: Song, side: int) -> None:
    genre, metre = song.genre, song.metre
    books: dict[str, tuple[list, float]] = {}
    colour = float(np.clip(genre.colour + rng.normal(0, 0.12), 0, 1))
    power = rng.random() < genre.power
    rates = (0.5, 1.0, 2.0) if metre.name != "3/4" else (1.0, 1.0, 2.0)
    weights = (0.18, 0.57, 0.25) if song.tempo < 130 else (0.06, 0.5, 0.44)
    for section in song.sections:
        kind = {"intro": "verse", "outro": "chorus", "break": "verse"}.get(section.kind, section.kind)
        if section.kind == "ending":
            triad = "m" if song.mode in ("minor", "dorian") else ""
            home, begin = [(0, triad, "T")], section.start
            for first, bars in ((begin, 1), (begin + 1, section.bars + 1)):  # what follows the last chord is silence
                song.chords += harmony.lay_out(
                    rng,
                    home,
                    key=song.key,
                    metre=metre,
                    first_bar=first,
                    bars=bars,
                    bars_each=bars,
                    colour=colour / 2,
                    slash=0,
                )
            continue
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


@dataclass
class _Band:
    """Who plays, each with draws of their own, so that one part's changes do not change another's."""

    song: Song
    side: int
    draws: dict[str, np.random.Generator]
    fills: dict[int, int]

    @property
    def energies(self) -> list[float]:
        """Of each bar."""
        return [form.at(self.song.sections, bar).energy for bar in range(self.bars)]

    @property
    def bars(self) -> int:
        """All bars that are played: without those of the ending."""
        last = self.song.sections[-1]
        return last.start + (0 if last.kind == "ending" else last.bars)

    def heard(self, stem: str, notes: list[Note]) -> list[Note]:
        """Those in whose bar the section lets the stem play."""
        song, beats = self.song, self.song.metre.beats
        bars = [(n, max(int((n.beat + EARLY) // beats), 0)) for n in notes]
        return [n for n, bar in bars if form.at(song.sections, bar).plays(stem, bar)]

    def drums(self) -> list[Note]:
        """The groove with its fills. The song's groove is set."""
        song, rng = self.song, self.draws["drums"]
        names = [n for n in song.genre.grooves if n in PATTERNS[song.metre.name]]
        song.groove = draw_groove(rng, pick(rng, names), song.metre, song.density["drums"], self.side)
        drummer, notes = Drummer(rng, song.groove, song.metre), []
        for bar in range(self.bars):
            section = form.at(song.sections, bar)
            notes += drummer.bar(section, bar, fill=self.fills.get(bar, 0), first=bar == section.start)
        if song.closing is not None:
            notes += drummer.last(float(song.closing * song.metre.beats))
        return notes

    def lead(self) -> list[Note]:
        """The melody."""
        song, rng = self.song, self.draws["lead"]
        return parts.melody(
            rng,
            song.chords,
            song.metre,
            song.density["lead"],
            song.scale,
            self.bars,
            self.energies,
            song.rooms["lead"][0],
        )

    def bass(self, kicks: list[list[int]]) -> list[Note]:
        """The bass line. kicks: steps of the bar drum, of each bar."""
        song, notes = self.song, []
        bassist = Bassist(self.draws["bass"], song.styles["bass"], song.metre, song.density["bass"], song.scale)
        for bar in range(self.bars):
            section, after = form.at(song.sections, bar), form.at(song.sections, bar + 1)
            rising = after is not section and after.energy > section.energy + 0.1
            notes += bassist.bar(bar, song.chords, kicks[bar], section, rising)
        return notes

    def chords(self, stem: str, lead: list[Note]) -> list[Note]:
        """Guitar or keys. lead: the melody, which they leave room to."""
        song, notes, beats = self.song, [], self.song.metre.beats
        guitar = stem == "guitar"
        player = Comper(self.draws[stem], song.styles[stem], song.metre, song.density[stem], guitar, song.rooms[stem])
        busy = np.bincount([max(int(n.beat // beats), 0) for n in lead] or [0], minlength=self.bars + 1) / (2 * beats)
        for bar in range(self.bars):
            section = form.at(song.sections, bar)
            share = float(min(busy[bar], 1.0)) if section.plays("lead", bar) else 0.0
            notes += player.bar(bar, song.chords, 60.0 / song.tempo, section, share)
        return notes

    def pads(self) -> list[Note]:
        """Sustained chords."""
        song = self.song
        return pads(
            self.draws["pads"], song.chords, song.metre, song.density["pads"], self.energies, song.rooms["pads"]
        )


def _play(
    song: Song, cast: list[str], side: int, draws: dict[str, np.random.Generator], drummers: Drummers | None
) -> None:
    genre, rng = song.genre, draws["form"]
    song.styles = {"bass": pick(rng, genre.bass), "guitar": pick(rng, genre.guitar), "keys": pick(rng, genre.keys)}
    band = _Band(song, side, draws, form.fills(rng, song.sections, song.metre, song.density["drums"]))
    composed = band.drums()
    if drummers and "drums" in cast:
        song.take = drummers.play(draws["human"], song, band.fills, band.bars, side)
    if song.take:
        drums, kicks = song.take.notes, song.take.kicks(song.metre, band.bars)
        song.swing, song.feel = song.take.swing, song.take.feel
        song.density["drums"] = song.take.density
        if song.styles["bass"] in ("riff", "eighths", "sustain") and draws["human"].random() < 0.6:
            song.styles["bass"] = "lock"
    else:
        drums, kicks = composed, [sorted(song.groove.kick[bar % 2]) for bar in range(band.bars)]
    lead = band.lead() if "lead" in cast else []
    made = {"drums": lambda: drums, "bass": lambda: band.bass(kicks), "pads": band.pads, "lead": lambda: lead}
    for stem in cast:
        notes = made[stem]() if stem in made else band.chords(stem, lead)
        song.notes[stem] = band.heard(stem, notes)
    form.stops(rng, song.sections, song.metre, song.notes, EARLY if song.take else 0.0)
    if song.closing is not None:
        _close(rng, song)


def _close(rng: np.random.Generator, song: Song) -> None:
    """The last chord, struck by everybody on the downbeat of the ending; then nothing."""
    beat, chord = float(song.closing * song.metre.beats), parts.chord_at(song.chords, song.closing * song.metre.beats)
    ring = float(rng.uniform(0.4, 1.0)) * song.metre.beats
    for stem, notes in song.notes.items():
        if stem == "drums":
            last = [n for n in notes if abs(n.beat - beat) < EARLY]
            song.notes[stem] = [n for n in notes if n.beat < beat - EARLY] + last
            continue
        kept = form.cut(notes, beat)
        if not kept:
            continue
        if stem in ("bass", "lead"):
            centre, (low, high) = (
                kept[-1].pitch,
                (28, 50) if stem == "bass" else (kept[-1].pitch - 8, kept[-1].pitch + 8),
            )
            pitches = [parts.nearest(chord.root, centre, low, high)]
        else:
            size = max(len({n.pitch for n in kept if abs(n.beat - k.beat) < 0.1}) for k in kept[-4:])
            voicer = Voicer(max(size, 3), *song.rooms[stem])
            voicer.last = sorted({n.pitch for n in kept[-6:]})
            pitches = voicer(chord)
        song.notes[stem] = kept + [Note(beat, ring, p, louder(rng, 100, 0.2, 5)) for p in pitches]


def _rooms(rng: np.random.Generator) -> dict[str, tuple[int, int]]:
    """Registers of the chords above the bass and below the lead: guitar and keys beside each other, pads around."""
    low = int(rng.integers(50, 54))
    lower, upper = (low, low + 19), (low + 5, low + 24)
    guitar_below = rng.random() < 0.6
    lead = int(rng.integers(62, 68))
    pads = int(rng.integers(52, 60))
    return {
        "guitar": lower if guitar_below else upper,
        "keys": upper if guitar_below else lower,
        "pads": (pads, pads + 20),
        "lead": (lead, lead + 19),
    }


def compose(rng: np.random.Generator, seconds: float, side: int, drummers: Drummers | None = None) -> Song:
    """A song of at least `seconds` seconds; `side` (0 training, 1 held out) is the hash parity of its progressions and
    its groove. drummers: performances by people, which play the drums where one fits and the seed says so."""
    song = _frame(rng, seconds)
    cast = _cast(rng)
    names = ("form", "harmony", "human", *STEMS)
    draws = dict(zip(names, rng.spawn(len(names))))
    song.rooms = _rooms(draws["form"])
    if draws["form"].random() < 0.22:
        song.closing = _closing(draws["form"], song, seconds)
    song.sections = form.draw(draws["form"], song.bars, song.first_beat == 0, cast, song.closing)
    _harmonise(draws["harmony"], song, side)
    _play(song, cast, side, draws, drummers)
    song.notes = {s: song.notes[s] for s in STEMS if song.notes.get(s)}
    return song


def _closing(rng: np.random.Generator, song: Song, seconds: float) -> int | None:
    """The bar on whose downbeat the song ends: one of the last that have begun a second before the audio ends."""
    beats = (seconds - 1.0 - song.offset) * song.tempo / 60 + song.first_beat
    bar = int(beats // song.metre.beats) - int(rng.integers(0, 2))
    return bar if bar >= 4 else None
