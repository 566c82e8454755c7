"""Plays notes on an SFZ instrument: sample-accurate starts, envelopes, loops, choke groups, round robin, velocity.

Equal hits differ a little, by a seed: in level and in brightness, not in pitch, so that a sample is resampled once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from stage.instruments.live import Live
from stage.instruments.samples import Samples
from stage.instruments.sfz import Instrument, Region
from stage.notes import Note


class Sampler:
    """An instrument at a sampling rate.

    instrument: as `stage.instruments.load` returns it. rate: of the result, Hz. varied: how much equal hits differ, 1
    as usual, 0 not at all. room: level of the room's sound beside the direct sound, 0 (none) to 1.
    Raises StageError where a sample cannot be read, when it is first played.
    """

    def __init__(self, instrument: Instrument, rate: int, varied: float = 1.0, room: float = 0.0):
        self.instrument, self.rate, self.varied, self.room = instrument, rate, varied, room
        self.samples = Samples(instrument, rate)
        self._by_key: dict[int, list[Region]] = {
            key: [region for region in instrument.regions if region.lokey <= key <= region.hikey] for key in range(128)
        }

    def keys(self) -> list[int]:
        """MIDI keys that have a sound."""
        return [key for key, regions in self._by_key.items() if regions]

    def regions(self, key: int) -> list[Region]:
        """Regions of a key."""
        return self._by_key.get(key, [])

    def render(
        self,
        notes: Sequence[Note],
        seconds: float,
        seed: int = 0,
        cents: float = 0.0,
        room: float | None = None,
        only: Collection[int] | None = None,
    ) -> np.ndarray:
        """Notes -> float32 [2, round(seconds * rate)]; what rings beyond is cut.

        seed: of the small differences between equal hits. cents: tuning of all notes against A = 440 Hz. room: None:
        the sampler's. only: keys that are heard; the others still take their turns and choke.
        """
        live = Live(self, seed, cents, room, only)
        live.add(notes)
        return live.finish(seconds)
