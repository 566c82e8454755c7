"""The one schedule: how long a training lasts, and the learning rate at each of its steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

from stage.errors import StageError
from stage.training.recipe import among, not_negative, positive, shares

KINDS = ("constant", "cosine", "linear")
Own = TypeVar("Own", bound="Schedule")


@dataclass(frozen=True)
class Schedule:
    """A run ends after ``steps``, or after ``hours`` of training where that is sooner.

    kind: constant (the paper); cosine: falls over all steps after the warm-up; linear: falls over the last ``decay`` of
    the run, by steps or hours, whichever is further. warmup: steps in which the rate rises from 0. floor: share of the
    rate at which a fall ends.
    """

    steps: int = 100_000
    hours: float | None = None
    kind: str = "constant"
    warmup: int = 0
    decay: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        positive(steps=self.steps, hours=self.hours, decay=self.decay)
        shares(floor=self.floor)
        among("schedule.kind", self.kind, KINDS)
        not_negative(warmup=self.warmup)

    def within(self: Own, minutes: float | None) -> Own:
        """The same in at most so many minutes; None: as it is. Raises StageError for minutes that are not above 0."""
        if minutes is None:
            return self
        if not 0 < minutes < math.inf:
            raise StageError(f"--minutes is a number above 0, not {minutes:g}")
        return replace(self, hours=minutes / 60)

    def progress(self, step: int, seconds: float = 0.0) -> float:
        """Share of the run that is done after ``step`` steps and so many seconds: 0..1."""
        share = step / self.steps
        if self.hours:
            share = max(share, seconds / (3600 * self.hours))
        return min(1.0, share)

    def factor(self, step: int, seconds: float = 0.0) -> float:
        """Factor on the learning rate in the step after ``step`` (from 0)."""
        if self.kind == "linear":
            rest = (1 - self.progress(step, seconds)) / self.decay
            return min(1.0, (step + 1) / max(1, self.warmup), max(self.floor, rest))
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.kind == "constant":
            return 1.0
        share = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class LinearSchedule(Schedule):
    """The schedule of the trainings from scratch, with defaults of its own."""

    kind: str = "linear"
    warmup: int = 100
    decay: float = 0.4
    floor: float = 0.02
