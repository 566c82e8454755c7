"""The options whose effect is measured: each played with less and with more of it, from the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stage.generation.performance import Performance


@dataclass(frozen=True)
class Control:
    """An option on a stem; `stage.evaluation.figures.parts.effect` measures what `after` has more of than `before`."""

    stem: str
    after: Performance
    before: Performance = Performance()


def _control(stem: str, name: str, after: Any, before: Any = None) -> Control:
    return Control(stem, Performance(**{name: after}), Performance(**({} if before is None else {name: before})))


CONTROLS: dict[str, Control] = {
    "complexity": _control("drums", "complexity", 0.9, 0.1),
    "dynamics": _control("drums", "dynamics", 0.9, 0.1),
    "fills": _control("drums", "fills", 2),
    "swing": _control("drums", "swing", 1.0),
    "push": _control("drums", "push", 20.0),
    "tight": _control("drums", "tight", 1.0),
    "humanize": _control("drums", "humanize", 0.8),
    "without": _control("drums", "without", ("hats",)),
    "half_time": _control("drums", "half_time", True),
    "double_time": _control("drums", "double_time", True),
    "register": _control("keys", "register", "high"),
}
"""By the names of `Performance`'s fields."""
