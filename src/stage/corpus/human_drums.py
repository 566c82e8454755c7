"""A drummer of the Groove MIDI Dataset plays a song: a performance that fits, its bars laid over the sections.

Beats of the performance become beats of the song, so that what is early or late in it stays so. Within a section bars
follow one another as they were played; which stretch a section gets is chosen by its energy, by the crash that begins
it and by the fill that ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stage.corpus.drums import CRASH, KICK
from stage.corpus.grooves import EARLY, KICKS, LICENCE, NAME, TIME, Bar, Grooves, Performance
from stage.corpus.harmony import pick
from stage.corpus.score import Metre, Note, Section, swung

if TYPE_CHECKING:
    from stage.corpus.compose import Song

REACH = 0.22
"""Logarithm of the ratio of tempi that is bridged at most: 0.8 to 1.25."""
TRIES = 5
"""Performances of the right style and tempo among which the feel and the density decide."""
FOLLOW = 0.7
"""Share of the drummer's lateness that the other instruments take over where no kick is."""

STYLES: dict[str, dict[str, float]] = {
    "rock": {"rock": 3, "punk": 1, "blues": 0.5, "pop": 0.5},
    "pop": {"pop": 4, "rock": 1, "soul": 1, "rock/indie": 2},
    "funk": {"funk": 4, "neworleans/funk": 2, "jazz/funk": 2, "afrobeat": 1, "soul": 0.5},
    "soul": {"soul": 4, "funk": 1, "gospel": 3, "pop/soft": 1},
    "jazz swing": {"jazz/swing": 4, "jazz": 2, "jazz/fast": 2, "jazz/mediumfast": 2},
    "bossa nova": {"latin/brazilian": 2, "latin/brazilian-bossa": 5, "latin/brazilian-samba": 2, "latin/samba": 2},
    "reggae": {"reggae": 1},
    "country": {"country": 4, "rock/folk": 3, "rock/rockabilly": 3, "neworleans": 0.5},
    "house": {"dance/disco": 1},
    "hip hop": {"hiphop": 4, "dance/breakbeat": 1, "funk": 0.4},
    "ballad": {"pop/soft": 4, "rock": 1, "soul": 1, "hiphop": 0.4},
    "blues shuffle": {"blues": 4, "rock/shuffle": 4, "funk/purdieshuffle": 2, "neworleans/shuffle": 2},
    "metal": {"rock": 1, "punk": 2, "rock/prog": 3},
    "disco": {"dance/disco": 4, "dance": 1},
    "latin": {"latin": 2, "afrocuban": 3, "latin/brazilian-songo": 3, "highlife": 1},
    "reggaeton": {"latin/reggaeton": 1},
    "drum and bass": {"dance/breakbeat": 3, "funk/fast": 3, "punk": 0.5},
    "folk": {"rock/folk": 4, "country": 2, "pop/soft": 2, "rock": 0.5},
    "synth pop": {"dance": 2, "pop": 2, "rock": 1},
    "waltz": {"rock": 1, "jazz": 1, "latin": 1},
}
"""Genre -> styles of the data set that can play it, with weights: the first part of a style means all of its kinds."""


@dataclass(frozen=True)
class Take:
    """The drums of one song by a person.

    notes: beats as they were played. swing: where the half of a beat falls (0.5: straight). kick: step of the song ->
    beats by which the kick there is late. template: the same for each step of a bar, the median of all hits. density:
    0..1, on the scale of composed drums. about: for song.json.
    """

    notes: list[Note]
    swing: float
    kick: dict[int, float]
    template: tuple[float, ...]
    density: float
    about: dict

    @property
    def feel(self) -> str:
        """The song's word for the swing."""
        return "straight" if self.swing == 0.5 else "shuffle" if self.swing > 0.64 else "swing"

    def kicks(self, metre: Metre, bars: int) -> list[list[int]]:
        """Steps of the kick in each bar."""
        made: list[list[int]] = [[] for _ in range(bars)]
        for step in sorted(self.kick):
            if 0 <= step < bars * metre.steps:
                made[step // metre.steps].append(step % metre.steps)
        return made

    def late(self, stem: str, beat: float, metre: Metre) -> float:
        """Beats by which a stem is late at a beat of the song: the bass with the kick, all else with the feel."""
        step = round(beat * metre.sub)
        if stem == "bass" and step in self.kick:
            return self.kick[step]
        return FOLLOW * self.template[step % metre.steps]


class Drummers:
    """Finds a performance for a song and lays it out."""

    def __init__(self, grooves: Grooves, share: float = 0.5):
        """share: of the songs that a performance fits, those whose drums are a person's."""
        self.grooves, self.share = grooves, share

    def play(self, rng: np.random.Generator, song: Song, fills: dict[int, int], bars: int, side: int) -> Take | None:
        """The drums of a song of `bars` bars, or None where composed ones play. side: 1 takes the set's test split.

        fills: bars that end in a fill.
        """
        if rng.random() >= self.share or song.metre.sub != 4:
            return None
        found = self._choose(rng, song, side)
        if found is None:
            return None
        main, swing = found
        laid = self._lay(rng, song, main, fills, bars)
        hits = np.concatenate([_shifted(bar, i, song) for i, bar in enumerate(laid)])
        density = _density(len(hits) / bars / song.metre.beats)
        kick, template = _timing(hits, swing, song.metre)
        if song.closing is not None:
            hits = np.concatenate([hits, self._last(rng, main, song)])
        notes = [Note(float(b), 0.2, int(key), int(v)) for b, key, v in hits[np.argsort(hits[:, 0], kind="stable")]]
        about = {
            "data_set": NAME,
            "licence": LICENCE,
            "drummer": main.drummer,
            "style": main.style,
            "bpm": main.bpm,
            "performances": sorted({bar.performance for bar in laid}),
        }
        return Take(notes, swing, kick, template, density, about)

    def _choose(self, rng: np.random.Generator, song: Song, side: int) -> tuple[Performance, float] | None:
        """(performance, swing): of a few with the right style, metre and tempo, the one with the song's feel that is
        nearest to its density."""
        styles = STYLES.get(song.genre.name, {})
        options, weights = [], []
        for p in self.grooves.performances:
            apart = abs(np.log(p.bpm / song.tempo))
            weight = max(styles.get(p.style, 0), styles.get(p.style.split("/")[0], 0))
            long = p.seconds * p.bpm / 60 / p.beats
            if weight and not p.fill and p.held_out == bool(side) and p.beats == song.metre.beats and long >= 2:
                if apart <= REACH:
                    options.append(p)
                    weights.append(weight * np.exp(-((apart / 0.12) ** 2) / 2) * min(long / 16, 1) ** 0.5)
        if not options:
            return None
        chance = np.array(weights) / sum(weights)
        best, least = None, np.inf
        for i in rng.choice(len(options), size=min(TRIES, len(options)), replace=False, p=chance):
            performance, noise = options[int(i)], 0.25 * float(rng.random())
            played = self.grooves.bars(performance)
            if len(played) < 2:
                continue
            swing = _swing(np.concatenate([bar.hits for bar in played]))
            if (swing == 0.5) != (song.feel == "straight"):
                continue
            load = float(np.mean([bar.load for bar in played])) / performance.beats
            apart = abs(_density(load) - song.density["drums"]) + noise
            if apart < least:
                best, least = (performance, swing), apart
        return best

    def _lay(
        self, rng: np.random.Generator, song: Song, main: Performance, fills: dict[int, int], bars: int
    ) -> list[Bar]:
        """A bar of the performance for each bar of the song; where it is short, its bars come again."""
        played = list(self.grooves.bars(main))
        if len(played) < 8:
            played += self._others(rng, main)
        spare = self._fills(rng, main, played)
        used, laid = np.zeros(len(played)), []
        for section in song.sections:
            left = min(section.bars, bars - section.start)
            while left > 0:
                count = min(left, len(played), 8)
                ends = left == count and section.start + section.bars - 1 in fills
                start = _window(rng, played, used, section, count, bool(laid) and left == section.bars, ends)
                used[start : start + count] += 1
                chosen = played[start : start + count]
                if ends and not chosen[-1].fill and spare and rng.random() < 0.7:
                    chosen[-1] = spare[int(rng.integers(len(spare)))]
                laid += chosen
                left -= count
        return laid

    def _near(self, main: Performance, fill: bool) -> list[Performance]:
        """Other files of the same session, style and about the same tempo."""
        return [
            p
            for p in self.grooves.performances
            if (p.session, p.style, p.beats, p.held_out) == (main.session, main.style, main.beats, main.held_out)
            and p.fill == fill
            and p.id != main.id
            and abs(np.log(p.bpm / main.bpm)) < 0.08
        ]

    def _others(self, rng: np.random.Generator, main: Performance) -> list[Bar]:
        near = self._near(main, fill=False)
        some = [near[i] for i in rng.permutation(len(near))[:3]]
        return [bar for p in some for bar in self.grooves.bars(p)]

    def _fills(self, rng: np.random.Generator, main: Performance, played: Sequence[Bar]) -> list[Bar]:
        near = self._near(main, fill=True)
        some = [near[i] for i in rng.permutation(len(near))[:8]]
        return [bar for bar in played if bar.fill] + [bar for p in some for bar in self.grooves.bars(p)]

    def _last(self, rng: np.random.Generator, main: Performance, song: Song) -> np.ndarray:
        """The stroke that ends the song: one with which the drummer began a bar, with a crash if there is any."""
        played = self.grooves.bars(main)
        begun = [bar for bar in played if bar.crash and (np.abs(bar.hits[:, 0]) < EARLY).sum() > 1]
        if begun:
            bar = pick(rng, begun)
            hits = bar.hits[np.abs(bar.hits[:, 0]) < EARLY].copy()
        else:
            hits = np.array([[0.0, KICK, 105.0], [0.0, CRASH, 110.0]])
        hits[:, 0] += song.closing * song.metre.beats
        return hits


def _window(
    rng: np.random.Generator,
    played: Sequence[Bar],
    used: np.ndarray,
    section: Section,
    count: int,
    begins: bool,
    ends: bool,
) -> int:
    """The bar from which `count` bars suit a section best. begins, ends: it begins a section after another; a fill ends
    it."""
    order = np.array([bar.load / 16 + bar.loud / 40 for bar in played])
    rank = np.argsort(np.argsort(order)) / max(len(played) - 1, 1)
    want = float(np.clip(0.5 + section.energy, 0.05, 0.95))
    costs = []
    for start in range(len(played) - count + 1):
        part = played[start : start + count]
        joins = sum(a.performance != b.performance or b.number != a.number + 1 for a, b in zip(part, part[1:]))
        costs.append(
            1.5 * abs(float(rank[start : start + count].mean()) - want)
            + 0.5 * (begins and section.energy > -0.2 and not part[0].crash)
            + 0.8 * (ends != part[-1].fill)
            + 0.25 * sum(bar.fill for bar in part[:-1])
            + 0.4 * float(used[start : start + count].mean())
            + 0.3 * joins
        )
    return int(np.argmin(np.array(costs) + 0.4 * rng.random(len(costs))))


def _shifted(bar: Bar, number: int, song: Song) -> np.ndarray:
    """The hits of a bar as those of bar `number` of the song; a little louder where the section has more energy."""
    section = next(s for s in reversed(song.sections) if s.start <= number)
    hits = bar.hits.copy()
    hits[:, 0] += number * song.metre.beats
    hits[:, 2] = np.clip(np.round(hits[:, 2] * (1 + 0.12 * section.energy)), 1, 127)
    return hits


def _swing(hits: np.ndarray) -> float:
    """Where the half of a beat falls in a performance, by its hats and rides if it has enough of them."""
    time = hits[np.isin(hits[:, 1], TIME)]
    return swing_of((time if len(time) > len(hits) / 4 else hits)[:, 0] % 1)


def swing_of(places: np.ndarray) -> float:
    """Where the half of a beat falls, from places of onsets within beats (0..1): 0.5 for straight playing, else the
    median of the late halves."""
    even, late = ((places > 0.43) & (places < 0.57)).sum(), (places > 0.58) & (places < 0.73)
    if late.sum() > 1.5 * even and late.sum() > 0.06 * len(places):
        return round(float(np.clip(np.median(places[late]), 0.58, 0.7)), 4)
    return 0.5


def _timing(hits: np.ndarray, swing: float, metre: Metre) -> tuple[dict[int, float], tuple[float, ...]]:
    """(step of the kick -> beats late, the same for each step of a bar)."""
    places = np.array([swung(s / metre.sub, swing) for s in range(metre.sub)] + [1.0])
    whole = np.floor(hits[:, 0])
    nearest = np.abs((hits[:, 0] - whole)[:, None] - places).argmin(1)
    step = (whole * metre.sub + nearest).astype(int)
    late = np.clip(hits[:, 0] - whole - places[nearest], -0.1, 0.1)
    kick: dict[int, float] = {}
    for s, key, off in zip(step, hits[:, 1], late):
        if key in KICKS:
            kick.setdefault(int(s), round(float(off), 5))
    general = float(np.median(late))
    template = []
    for place in range(metre.steps):
        own = late[step % metre.steps == place]
        template.append(round(float(np.median(own)) if len(own) >= 3 else general, 5))
    return kick, tuple(template)


def _density(hits_per_beat: float) -> float:
    """Density (0..1) at which composed drums have so many hits a beat, about."""
    return round(float(np.clip((hits_per_beat - 1.2) / 5.0, 0.02, 0.98)), 3)
