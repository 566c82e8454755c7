"""Sections that come again: which frames of a piece were played before, at the same place of the same section.

A window of the model is shorter than a piece, and what it does not hold is forgotten: parts wander. So where a section
comes again, what happened in the first one of its name is likelier to happen again, but for the strokes of fills; and
drums have frames of that first one in the model's past, beside the last ones. Other stems do not: a bass was no nearer
to its beginning for it, and keys were farther away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from stage.beats.grid import BeatGrid
from stage.generation.event_rules import EventRules
from stage.generation.request import Form
from stage.generation.steering import bars
from stage.models.events import TimeLine

PULL = {"drums": 2.0, "bass": 0.5, "keys": 2.0}
PULL_OF_OTHERS = 1.0
"""Nats by which what a stem did in the first section of a name is likelier in the later ones: such that the last is
about as near to the first as to the one before it (benchmarks/sections.py)."""
RECALLING = ("drums",)
"""Stems that have frames of the first section in their past."""
PHRASE = 8
"""Bars after which a piece without a form is taken to begin again."""


@dataclass(frozen=True, eq=False)
class Earlier:
    """What of a piece was played before.

    frames: int64 [T], for each frame the one at the same place of the first section of its name, -1 where none was.
    pull: nats by which what happened there is likelier. recalling: whether some of these frames are put into the past.
    """

    frames: Tensor
    pull: float = 0.0
    recalling: bool = True

    def recalled(self, first: int, stop: int, before: int, most: int) -> Tensor:
        """Frames before `before` in which frames first..stop were played: int64 [M], `most` of them at most."""
        found = self.frames[first:stop]
        return found[(found >= 0) & (found < before)][: most * self.recalling]

    def echo(self, rules: EventRules, frames: Tensor, codes: Tensor) -> EventRules:
        """Rules of some frames [T] int64 in which what happened before is likelier. codes: [K, n] of those made so far,
        among which the earlier ones must be."""
        if not self.pull:
            return rules
        before = self.frames[frames]
        alike = (before >= 0) & (before < codes.shape[1])
        if rules.least is not None:
            alike &= ~(rules.least > 0).any(1)
        echo = codes[:, before.clamp(0, codes.shape[1] - 1)].T.where(alike[:, None], -1)
        return replace(rules, echo=echo, pull=self.pull)


def earlier(line: TimeLine, grid: BeatGrid | None, form: Form, stem: str) -> Earlier | None:
    """What of a piece was played before, by its form; None where no bars are known.

    Places are counted in bars and within them; a section that is longer than the first of its name has none behind that
    one's end. Names are the same whatever their case, and the number behind a space ("verse 1", "verse 2"). Without a
    form phrases come again, of which nothing is likelier.
    """
    if not line.division or grid is None or len(grid.downbeats) < 2 or not (form or stem in RECALLING):
        return None
    bar = bars(line, grid)
    last = int(bar[-1])
    edges = np.searchsorted(bar, np.arange(last + 2))  # of bars: the first frame of each
    sections = form or tuple(("", first) for first in range(1, last + 1, PHRASE))
    ends = [*(first for _, first in sections[1:]), last + 1]
    made, firsts = np.full(line.frames, -1), {}
    for (name, first), end in zip(sections, ends):
        start, stop = firsts.setdefault(re.sub(r"\s+\d+$", "", name.strip().lower()), (first, end))
        for place in range(min(end - first, stop - start, last + 1 - first) if first > start else 0):
            (a, b), (c, d) = (edges[at + place : at + place + 2] for at in (first, start))
            many = min(b - a, d - c)
            made[a : a + many] = np.arange(c, c + many)
    return Earlier(torch.from_numpy(made), PULL.get(stem, PULL_OF_OTHERS) if form else 0.0, stem in RECALLING)
