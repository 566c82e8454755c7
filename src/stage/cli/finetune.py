"""A fine-tuning as the terminal shows it: a bar with the newest figures, and a last line that says what to do next."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

from stage.errors import Interrupted
from stage.training.finetune.recipe import Recipe
from stage.training.finetune.run import finetune


def watch(recipe: Recipe, base: str, data: Path, out: Path) -> int:
    """``finetune`` with a progress bar on the error stream, where that is a terminal. Returns the exit code.

    Raises Interrupted where a signal stopped the run, which is then saved.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("fine-tuning", total=recipe.schedule.steps)

        def on_step(step: int, steps: int, figures: dict[str, float]) -> None:
            said = (
                f"loss {figures['loss']:.3f} · {figures['samples_per_second']:.1f} examples/s · "
                f"{100 * figures['waiting_for_data']:.0f} % waiting for data"
            )
            bar.update(task, completed=step, description=said)

        ended = finetune(
            recipe, base, data, out, on_step, lambda line: console.print(line, highlight=False, soft_wrap=True)
        )
    if not ended.first:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first process ends the others as it goes
        return 0  # and has the exit code
    if ended.how == "stopped":
        command = " ".join(map(shlex.quote, ["stage", *sys.argv[1:]]))
        print(f"stopped after step {ended.step}, and saved; the same command goes on from there: {command}")
        raise Interrupted
    if ended.how == "already":
        print(
            f"{out} is finished: {ended.step} steps, {ended.place}. To go on, raise schedule.steps with --set; to begin"
            " anew, choose another --out"
        )
    else:
        print(f"finished after step {ended.step}: {ended.place}")
    return 0
