"""The one progress bar. It is drawn on the error stream, and only where that is a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")
WIDTH = 36
"""Characters of the description at the most."""


class Bar:
    """What `bar` gives: one job, of which parts may follow each other."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def begin(self, what: str, total: float | None = None) -> None:
        """Start a part of the work: its name, and how much there is of it (None: unknown as yet)."""
        self._progress.reset(self._task, description=what, total=total)

    def update(self, done: float | None = None, total: float | None = None, what: str | None = None) -> None:
        """So much is done; what is not given stays as it was."""
        self._progress.update(self._task, completed=done, total=total, description=what)

    def print(self, text: str) -> None:
        """A line above the bar, on the error stream; also without a terminal."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def bar(what: str = "", total: float | None = None, *, count: bool = True, keep: bool = False) -> Iterator[Bar]:
    """A progress bar within the block.

    what: name of the first part. total: how much there is to do. count: show "3/10", else a percentage.
    keep: leave the bar on the screen at the end.
    """
    console = Console(stderr=True)
    shown = MofNCompleteColumn() if count else TaskProgressColumn()
    columns = (
        TextColumn(f"{{task.description:{WIDTH}.{WIDTH}}}", markup=False),
        BarColumn(),
        shown,
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=not keep, disable=not console.is_terminal) as progress:
        made = Bar(progress)
        made.begin(what, total)
        yield made


def shown(many: Sequence[T], what: str) -> Iterator[tuple[int, T]]:
    """`enumerate`, with a progress bar."""
    with bar(what, len(many)) as progress:
        for index, one in enumerate(many):
            progress.update(index)
            yield index, one
