"""Half time and double time: a part's pattern at half or twice its speed, over the same bars and chords."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from stage.models.events import TimeLine
from stage.models.playable import GROUPS
from stage.notes import Note

MOVING = ("kick", "snare", "high toms", "low toms")
"""Groups that carry the pattern. Hats, cymbals and percussion keep the song's pace."""
TOMS = ("high toms", "low toms")
GESTURE = 0.08
"""Beats within which notes begin together."""


def half_time(notes: list[Note], line: TimeLine, stem: str, double: bool = False) -> list[Note]:
    """Each bar's pattern at half its speed (or, `double`, at twice).

    Half: what began in the first half of a bar fills it, so that a backbeat on 2 comes on 3. Double: the whole bar
    comes twice. Strays from the grid stay as they are, in time. Of drums, hats and cymbals keep their pace, and a bar
    whose second half has toms keeps that as its fill. Pitched stems change the rhythm: what sounds on each of its
    onsets is what sounded there before, and what began in the middle of a bar still does.
    """
    starts, lengths = _bars(line)
    places = line.place(np.array([note.start for note in notes]))
    bar = np.searchsorted(starts, places + GESTURE, side="right") - 1
    outside = [note for note, b in zip(notes, bar) if b < 0]
    made = list(outside)
    inside: dict[int, list[tuple[float, Note]]] = defaultdict(list)
    for note, place, b in zip(notes, places, bar):
        if b >= 0:
            inside[int(b)].append((float(place), note))
    if stem == "drums":
        for b, hits in inside.items():
            made += _drums(hits, line, float(starts[b]), float(lengths[b]), double)
        return sorted(made)
    return sorted(made + _pitched(notes, places, inside, line, starts, lengths, double))


def _bars(line: TimeLine) -> tuple[np.ndarray, np.ndarray]:
    """(first beat, beats) of each bar; bars of four where no downbeats are known, the last as long as the line's."""
    starts = np.flatnonzero(line.numbers == 1)
    if not len(starts):
        starts = np.arange(0, line.frames, 4)
    usual = max(int(line.numbers.max()), 1) if line.numbers.any() else 4
    return starts.astype(float), np.append(np.diff(starts), usual).astype(float)


def _new_places(place: float, start: float, length: float, double: bool) -> list[float]:
    """Where an onset of a bar comes at half or twice the speed, in beats; what it strays from the grid stays."""
    inner = place - start
    grid = min((round(inner * n) / n for n in (4, 3)), key=lambda at: abs(at - inner))
    stray = inner - grid
    if double:
        return [start + grid / 2 + stray + again for again in (0.0, length / 2)]
    return [start + 2 * grid + stray] if grid < length / 2 else []


def _drums(hits: list[tuple[float, Note]], line: TimeLine, start: float, length: float, double: bool) -> list[Note]:
    middle = start + length / 2 - GESTURE
    fill = not double and any(place >= middle and note.pitch in _keys(TOMS) for place, note in hits)
    made = []
    for place, note in hits:
        if note.pitch not in _keys(MOVING) or (fill and place >= middle):
            made.append(note)
            continue
        for at in _new_places(place, start, length, double):
            if not (fill and at >= middle):
                moved = float(line.seconds(np.array(at)))
                made.append(note._replace(start=moved, end=moved + note.end - note.start))
    return made


def _keys(groups: tuple[str, ...]) -> frozenset[int]:
    return frozenset(key for group in groups for _, key in GROUPS[group])


def _pitched(
    notes: list[Note],
    places: np.ndarray,
    inside: dict[int, list[tuple[float, Note]]],
    line: TimeLine,
    starts: np.ndarray,
    lengths: np.ndarray,
    double: bool,
) -> list[Note]:
    """The rhythm of each bar at its new speed, with what sounds there in the part as it was."""
    ends = line.place(np.array([note.end for note in notes]))
    onsets: dict[float, tuple[float, int, float]] = {}  # place: (length in beats, velocity, spread of a strum)
    for b, played in inside.items():
        start, length = float(starts[b]), float(lengths[b])
        for place, lasting, velocity, spread in _gestures(played, line):
            for at in _new_places(place, start, length, double):
                onsets[at] = (lasting / 2 if double else lasting * 2, velocity, spread)
            if not double and abs(place - start - length / 2) < GESTURE:
                onsets[place] = (lasting, velocity, spread)
    made, order = [], sorted(onsets)
    order = [at for at, before in zip(order, [-np.inf, *order]) if at - before > GESTURE]
    for at, after in zip(order, [*order[1:], np.inf]):
        lasting, velocity, spread = onsets[at]
        sounding = (places <= at + GESTURE) & (ends > at + GESTURE)
        if not sounding.any():  # what was played last
            before = places[places <= at + GESTURE]
            if not len(before):
                continue
            sounding = np.abs(places - before.max()) < GESTURE
        pitches = sorted({notes[i].pitch for i in np.flatnonzero(sounding)}, reverse=spread < 0)
        first, last = line.seconds(np.array([at, min(at + lasting, after)])).tolist()
        step = abs(spread) / max(1, len(pitches) - 1)
        made += [Note(first + i * step, last, pitch, velocity) for i, pitch in enumerate(pitches)]
    return made


def _gestures(played: list[tuple[float, Note]], line: TimeLine) -> list[tuple[float, float, int, float]]:
    """What begins together: (place, beats that the longest lasts, mean velocity, seconds from its first onset to its
    last, negative where the lowest note is the last)."""
    groups: list[list[tuple[float, Note]]] = []
    for place, note in sorted(played):
        if groups and place - groups[-1][0][0] < GESTURE:
            groups[-1].append((place, note))
        else:
            groups.append([(place, note)])
    made = []
    for group in groups:
        notes = [note for _, note in group]
        lasting = float(line.place(np.array(max(note.end for note in notes)))) - group[0][0]
        spread = notes[-1].start - notes[0].start
        up = notes[-1].pitch >= notes[0].pitch
        velocity = round(float(np.mean([note.velocity for note in notes])))
        made.append((group[0][0], lasting, velocity, spread if up else -spread))
    return made
