"""A sampler while its notes are still being made: audio comes out part by part, each certain up to its end.

All parts together are what `Sampler.render` makes of the whole piece; that is one part of this. What a part costs does
not depend on what lies behind it: voices, filters, the room and the samples' resamplers go on from where they were.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np

from stage.instruments.room import Room
from stage.instruments.sfz import Region
from stage.instruments.voices import Voice
from stage.notes import Note

if TYPE_CHECKING:
    from stage.instruments.sampler import Sampler

_Key = tuple[float, int, int, int]
"""What a note is known by: start, pitch, velocity, and which of those that are alike in these."""


class Live:
    """A piece that is played on a sampler part by part, from second 0 on.

    sampler, seed, cents, room, only: see `Sampler` and `Sampler.render`.
    """

    def __init__(
        self,
        sampler: Sampler,
        seed: int = 0,
        cents: float = 0.0,
        room: float | None = None,
        only: Collection[int] | None = None,
    ):
        self.sampler, self.cents, self.only = sampler, cents, only
        self.done = 0
        """Samples that came out."""
        self._draws = np.random.default_rng([seed, 1])
        self._turns: dict[int, int] = {}
        self._open: dict[int, list[Voice]] = {}  # by off_by, those that can still be choked
        self._voices: list[Voice] = []
        self._seen: set[_Key] = set()
        self._waiting: dict[_Key, Note] = {}
        self._queue: list[_Key] = []  # a heap of those that wait
        self._held: dict[_Key, tuple[list[Voice], int]] = {}  # those whose end, a sample, is still to come
        self._room = Room(sampler.rate, sampler.room if room is None else room)

    def push(self, notes: Iterable[Note], end: float) -> np.ndarray:
        """Play on to second `end` -> float32 [2, m], m = round(end * rate) less what came out before.

        notes: the new ones or, which costs more, all that are known; every note that starts before `end` must be among
        those that were given by now. One that is still held then ends beyond `end`: it may be given again with its true
        end (start, pitch and velocity say which it is), as long as it has not ended. Raises ValueError for a new note
        that starts before what came out.
        """
        self.add(notes)
        return self._play(round(end * self.sampler.rate))

    def finish(self, seconds: float) -> np.ndarray:
        """The rest, to the end of a piece of so many seconds: what rings beyond is cut."""
        return self._play(round(seconds * self.sampler.rate))

    def add(self, notes: Iterable[Note]) -> None:
        """Take notes without playing; see `push`."""
        rate, alike = self.sampler.rate, Counter()
        for note in notes:
            which = note.start, note.pitch, note.velocity
            key = *which, alike[which]
            alike[which] += 1
            if key in self._waiting or key not in self._seen:
                if self.done and round(note.start * rate) < self.done:
                    raise ValueError(f"a note at {note.start:.3f} s comes after {self.done / rate:.3f} s were played")
                if key not in self._seen:
                    heapq.heappush(self._queue, key)
                self._seen.add(key)
                self._waiting[key] = note
            elif key in self._held:
                voices, _ = self._held[key]
                end = max(round(note.end * rate), self.done)
                self._held[key] = voices, end
                for voice in voices:
                    voice.hold(end)

    def _play(self, edge: int) -> np.ndarray:
        rate = self.sampler.rate
        out = np.zeros((2, max(edge - self.done, 0)), np.float32)
        while self._queue and round(self._queue[0][0] * rate) < edge:
            key = heapq.heappop(self._queue)
            self._begin(key, self._waiting.pop(key))
        for voice in self._voices:
            voice.add(out, self.done, self.sampler.samples)
        self.done += out.shape[1]
        self._voices = [voice for voice in self._voices if not voice.over]
        self._held = {key: held for key, held in self._held.items() if held[1] >= self.done}
        return self._room.push(out)

    def _begin(self, key: _Key, note: Note) -> None:
        """Choose the regions that sound for a note, and silence those that it chokes."""
        sampler = self.sampler
        draw, louder, brighter = self._draws.random(), self._draws.normal(), self._draws.normal()
        turn = self._turns[note.pitch] = self._turns.get(note.pitch, -1) + 1
        chosen = [region for region in sampler.regions(note.pitch) if _answers(region, note, draw, turn)]
        start, heard = round(note.start * sampler.rate), self.only is None or note.pitch in self.only
        for group in {region.group for region in chosen if region.group}:
            for voice in self._open.pop(group, ()):
                voice.choke(start)
        voices = []
        for region in chosen:
            varied = louder * sampler.varied, brighter * sampler.varied
            voice = Voice.of(region, note, sampler.rate, self.cents, *varied)
            if region.off_by:
                self._open[region.off_by] = [v for v in self._open.get(region.off_by, ()) if not v.over] + [voice]
            if heard:
                voices.append(voice)
        self._voices += voices
        self._held[key] = voices, round(note.end * sampler.rate)


def _answers(region: Region, note: Note, draw: float, turn: int) -> bool:
    """Whether a region sounds for a note of its keys: velocity, random choice, round robin."""
    return (
        region.lovel <= note.velocity <= region.hivel
        and region.lorand <= draw
        and (draw < region.hirand or region.hirand >= 1)
        and turn % max(region.seq_length, 1) == region.seq_position - 1
    )
