"""Where a song of a data set lies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "valid", "validation", "dev", "test", "heldout")
"""Folder names that are the name of a split."""


@dataclass(frozen=True)
class Place:
    """A song's folder (or its one file), and the split that the folders around it name."""

    folder: Path
    split: str | None


def in_splits(root: Path, splits: Iterable[str], pattern: str) -> list[Place]:
    """What matches `pattern` in the folders of the splits, or in `root` itself, which then may be the folder of a
    split."""
    splits = tuple(splits)
    found = [Place(path, split) for split in splits for path in sorted((root / split).glob(pattern))]
    own = root.resolve().name if root.resolve().name in splits else None
    return found or [Place(path, own) for path in sorted(root.glob(pattern))]
