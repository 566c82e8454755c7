"""Tables as Markdown, and values as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]])


def finite(value: Any) -> Any:
    """A nested value with None in place of nan and infinities, which JSON lacks; tuples become lists."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
