"""Codes of events as notes, and notes as sound: at once, or part by part as the codes come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stage.generation.played import Plan
from stage.instruments.stems import Playing
from stage.models.events import REACH, STEPS
from stage.notes import Note

FIRST = 6
"""Frames of the first part of a stream."""


@dataclass(frozen=True)
class Take:
    """One variation: its notes in seconds of the stretch, and the instrument that plays them."""

    notes: tuple[Note, ...]
    instrument: str


@dataclass(frozen=True, eq=False)
class Sounding:
    """A plan's codes as notes and sound.

    rate, samples, channels: of the song; a stem has two channels at most. seeds: of the variations. cents: tuning from
    A = 440 Hz. pauses: in which the stem rests, (first, end) in samples.
    """

    plan: Plan
    rate: int
    samples: int
    channels: int
    seeds: Sequence[int]
    cents: float = 0.0
    pauses: tuple[tuple[int, int], ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the stretch."""
        return self.samples / self.rate

    def takes(self, codes: Tensor) -> list[Take]:
        """Codes [V, K, T] -> the notes of each variation."""
        return [self._take(one, seed) for one, seed in zip(codes, self.seeds)]

    def stems(self, takes: Sequence[Take]) -> np.ndarray:
        """The takes on their instruments: float32 [V, C, samples]."""
        playing = (self._playing(take.instrument, seed) for take, seed in zip(takes, self.seeds))
        return np.stack([one.finish(self.seconds, take.notes) for one, take in zip(playing, takes)])

    def chunks(self, parts: Iterator[Tensor]) -> Iterator[np.ndarray]:
        """Parts of codes [V, K, n] as they come -> float32 [V, C, m], `samples` in all.

        A performance that changes notes needs the whole part, so then the first chunk comes when it is made.
        """
        known, done = CodesSoFar(self.plan), 0
        players: list[Playing] = []
        for part in parts:
            known.add(part)
            until = min(known.certain, self.seconds)
            if self.plan.performance.changes:
                continue
            players = players or self._players(known.codes)
            notes = known.recent()
            if round(until * self.rate) > done:
                made = [p.push(self._within(n), until) for p, n in zip(players, notes)]
                yield np.stack(made)
                done += made[0].shape[1]
        players = players or self._players(known.codes)
        made = [p.finish(self.seconds, take.notes) for p, take in zip(players, self.takes(known.codes))]
        if made[0].shape[1]:
            yield np.stack(made)

    def sizes(self, most: float) -> Iterator[int]:
        """Frames for each part of a stream: as few as can be at first, then twice as many, at most `most` seconds."""
        line = self.plan.line
        rate = line.frames / (line.times[-1] - line.times[0])
        size, limit = FIRST, max(1, round(most * rate))
        while True:
            yield min(size, limit)
            size *= 2

    def _take(self, codes: Tensor, seed: int) -> Take:
        plan = self.plan
        notes = plan.events.decode(codes, plan.line)
        beats = plan.line if plan.grid is None or len(plan.grid) < 2 else plan.grid
        notes = plan.performance.apply(notes, beats, plan.stem, seed, self.seconds)
        return Take(tuple(self._within(notes)), self._instrument(codes))

    def _instrument(self, codes: Tensor) -> str:
        """What plays codes [K, T]: the kit or instrument that is asked for, or the one that the model chose."""
        performance = self.plan.performance
        asked = performance.kit if self.plan.stem == "drums" else performance.instrument
        return asked or self.plan.events.instrument(codes)

    def _players(self, codes: Tensor) -> list[Playing]:
        return [self._playing(self._instrument(one), seed) for one, seed in zip(codes, self.seeds)]

    def _playing(self, instrument: str, seed: int) -> Playing:
        channels = min(2, self.channels)
        return Playing(self.plan.stem, instrument, self.rate, seed % 2**32, self.cents, channels=channels)

    def _within(self, notes: list[Note]) -> list[Note]:
        pauses = tuple((first / self.rate, end / self.rate) for first, end in self.pauses)
        return within(notes, self.seconds, pauses)


class CodesSoFar:
    """The codes of a stream so far: what begins in them, and up to when that is certain."""

    def __init__(self, plan: Plan):
        self.plan, self.filled = plan, 0
        self._codes: Tensor | None = None
        self._since: list[int] = []

    def add(self, part: Tensor) -> None:
        """The next codes [V, K, n]."""
        if self._codes is None:
            self._codes = torch.zeros(*part.shape[:2], self.plan.line.frames, dtype=torch.int64)
            self._since = [0] * len(part)
        self._codes[:, :, self.filled : self.filled + part.shape[2]] = part
        self.filled += part.shape[2]

    @property
    def codes(self) -> Tensor:
        """All codes so far [V, K, n]."""
        assert self._codes is not None
        return self._codes[:, :, : self.filled]

    @property
    def certain(self) -> float:
        """The second up to which no more will begin."""
        return float(self.plan.line.seconds(np.array(self.filled - REACH / STEPS)))

    def recent(self) -> list[list[Note]]:
        """The notes of each variation that are new or still held. One that is held ends where the known frames do, or
        later."""
        line, made = self.plan.line, []
        for v, one in enumerate(self.codes):
            fresh = one.clone()
            fresh[:, : self._since[v]] = 0  # what ended is not decoded again
            made.append(self.plan.events.decode(fresh, line))
            held = [note.start for note in made[-1] if note.end >= self.certain]
            first = float(line.place(np.array([min(held)]))[0]) if held else float(self.filled)
            self._since[v] = max(self._since[v], int(first) - 1 - REACH // STEPS)
        return made


def within(notes: list[Note], seconds: float, pauses: tuple[tuple[float, float], ...] = ()) -> list[Note]:
    """The notes that begin in a stretch and outside its pauses, ended where a pause or the stretch ends.

    A note that lies a little before the first sample begins with it.
    """
    kept = []
    for note in notes:
        start, end = max(note.start, 0.0), min(note.end, seconds)
        if note.start >= seconds - 1e-3 or (end <= 0 and note.end < note.start) or note.start < -0.05:
            continue
        if any(first <= start < last for first, last in pauses):
            continue
        end = min([end, *(first for first, _ in pauses if start < first < end)])
        kept.append(note._replace(start=start, end=max(end, start)))
    return sorted(kept)
