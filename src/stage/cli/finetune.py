"""Trainings as the terminal shows them: a bar with the newest figures, and a last line that names the next command."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from stage.errors import Interrupted
from stage.progress import bar
from stage.training.embedded.loop import Stopped
from stage.training.finetune.recipe import Recipe
from stage.training.finetune.run import finetune


def watch(recipe: Recipe, base: str, data: str, out: Path) -> int:
    """``finetune`` with a progress bar on the error stream, where that is a terminal. Returns the exit code.

    Raises Interrupted where a signal stopped the run, which is then saved.
    """
    with bar("fine-tuning", recipe.schedule.steps) as progress:

        def on_step(step: int, steps: int, figures: dict[str, float]) -> None:
            waiting = f"{100 * figures['waiting_for_data']:.0f} % waiting"
            speed = f"{figures['samples_per_second']:.1f} examples/s"
            progress.update(step, steps, f"loss {figures['loss']:.3f}, {speed}, {waiting}")

        ended = finetune(recipe, base, data, out, on_step, progress.print)
    if not ended.first:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first process ends the others as it goes
        return 0  # and has the exit code
    if ended.how == "stopped":
        _stopped(ended.step)
        raise Interrupted
    if ended.how == "already":
        print(
            f"{out} is finished: {ended.step} steps, {ended.place}. To go on, raise schedule.steps with --set; to begin"
            " anew, choose another --out"
        )
    else:
        print(f"finished after step {ended.step}: {ended.place}")
    return 0


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Print how to go on where a signal stops a training from scratch, which is then saved."""
    try:
        yield
    except Stopped as stopped:
        _stopped(stopped.step)
        raise


def _stopped(step: int) -> None:
    command = " ".join(map(shlex.quote, ["stage", *sys.argv[1:]]))
    print(f"stopped after step {step}, and saved; the same command goes on from there: {command}")
