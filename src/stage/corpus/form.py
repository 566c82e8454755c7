"""The form of a song: sections that differ in energy, who enters when, fills, breaks and the ending."""

from __future__ import annotations

import numpy as np

from stage.corpus.harmony import pick
from stage.corpus.score import Metre, Note, Section

ENERGY = {"intro": -0.4, "verse": -0.15, "chorus": 0.4, "bridge": 0.05, "break": -0.5, "outro": -0.05, "ending": 0.3}
"""Energy of a kind of section, from about -0.6 to 0.6: how full and how loud everybody plays."""
NEXT = {"intro": "vvvc", "verse": "cccbkv", "chorus": "vvkbo", "bridge": "cck", "break": "ccv", "outro": "vk"}
KINDS = {"v": "verse", "c": "chorus", "b": "bridge", "k": "break", "o": "outro"}


def draw(rng: np.random.Generator, bars: int, whole: bool, cast: list[str], closing: int | None) -> list[Section]:
    """Sections over `bars` bars. whole: the audio begins with the first bar. closing: the bar on whose downbeat the
    song ends, if it does.

    All sections of one kind have nearly the same energy; each return is a little fuller.
    """
    lengths = (2, 4, 8) if bars > 12 else (2, 4, 4)
    base = {kind: value + float(rng.normal(0, 0.07)) for kind, value in ENERGY.items()}
    seen: dict[str, int] = {}
    sections: list[Section] = []
    at, kind = 0, "intro" if whole and rng.random() < 0.55 else pick(rng, ("verse", "chorus"))
    stop = bars if closing is None else closing
    while at < stop:
        long = int(pick(rng, lengths, (0.12, 0.53, 0.35)))
        long = min(int(pick(rng, (2, 4))), long) if kind in ("intro", "break") else long
        if closing is not None:
            long = min(long, closing - at)
        section = Section(kind, at, long, base[kind] + 0.06 * seen.get(kind, 0) + float(rng.normal(0, 0.03)))
        seen[kind] = seen.get(kind, 0) + 1
        _cast(rng, section, cast)
        sections.append(section)
        at += long
        kind = KINDS[pick(rng, NEXT[kind])]
    if closing is not None:
        sections.append(Section("ending", closing, max(bars - closing, 1), base["ending"]))
    return sections


def _cast(rng: np.random.Generator, section: Section, cast: list[str]) -> None:
    """Who enters one after another, and who pauses."""
    kind = section.kind
    if kind == "intro":
        order = [cast[i] for i in rng.permutation(len(cast))]
        step = section.bars / max(len(order), 1)
        section.enters = {s: int(i * step) for i, s in enumerate(order)} if rng.random() < 0.75 else {}
    elif kind in ("break", "bridge") or (kind == "verse" and rng.random() < 0.3):
        candidates = [s for s in cast if s != "bass"] if kind == "verse" else cast
        gone = {s for s in candidates if rng.random() < (0.45 if kind == "break" else 0.2)}
        section.silent = frozenset(gone if len(gone) < len(cast) else gone - {cast[0]})
    if kind in ("verse", "intro") and rng.random() < 0.5:
        section.silent = section.silent | {"lead"}


def at(sections: list[Section], bar: int) -> Section:
    """The section of a bar."""
    return next(s for s in reversed(sections) if s.start <= bar)


def fills(rng: np.random.Generator, sections: list[Section], metre: Metre, density: float) -> dict[int, int]:
    """Bars that end in a fill, with its beats: most borders, rising ones above all; now and then a fourth bar."""
    made: dict[int, int] = {}
    for section, after in zip(sections, [*sections[1:], None]):
        last = section.start + section.bars - 1
        rise = 0.0 if after is None else after.energy - section.energy
        if rng.random() < min(0.97, 0.5 + 0.3 * density + 0.6 * max(rise, 0.0)):
            long = (1, 2, metre.beats)
            made[last] = int(pick(rng, long, (4, 4, 2) if rise > 0.2 else (5, 3, 1)))
        for bar in range(section.start + 3, last, 4):
            if rng.random() < 0.08 + 0.12 * density:
                made[bar] = 1
    return {bar: min(beats, metre.beats) for bar, beats in made.items()}


def stops(
    rng: np.random.Generator, sections: list[Section], metre: Metre, notes: dict[str, list], early: float
) -> None:
    """Now and then everybody, or only the drums, stops for (most of) the last bar of a section. In place.

    early: beats before a beat at which drums may play what belongs to it.
    """
    for section in sections:
        if section.bars < 2 or section.kind == "ending" or rng.random() > 0.2:
            continue
        end = float((section.start + section.bars) * metre.beats)
        begin = end - float(pick(rng, (metre.beats, metre.beats - 1, metre.beats / 2), (2, 4, 2)))
        who = pick(rng, ("all", "drums", "but bass", "but drums"), (4, 3, 1, 1))
        for stem in notes:
            if who == "drums" and stem != "drums" or who == f"but {stem}":
                continue
            lead = early if stem == "drums" else 0.0
            notes[stem] = cut(notes[stem], begin - lead, end - lead)


def cut(notes: list[Note], begin: float, end: float = np.inf) -> list[Note]:
    """The notes without those that begin in [begin, end); what sounds at `begin` ends there."""
    kept = [n for n in notes if not begin - 1e-6 <= n.beat < end - 1e-6]
    return [n._replace(length=min(n.length, begin - n.beat)) if n.beat < begin < n.beat + n.length else n for n in kept]
