"""`stage train scorer` and `stage coherence`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[str, typer.Option(help="Songs with stems: any data set that stage data opens.")]


def scorer(
    recipe: Annotated[Path, typer.Argument(help="Recipe file (YAML): recipes/scorer.yaml.")],
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the run; an interrupted run in it goes on where it stopped.")
    ],
    minutes: Annotated[float | None, typer.Option(help="Fit the schedule into this many minutes.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many songs.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value of the recipe: key.sub=value. May be repeated.")
    ] = None,
) -> None:
    """Train the offline coherence scorer; songs of a split "train", where there are splits."""
    from stage.cli.finetune import resumable
    from stage.data import open_songs
    from stage.progress import bar
    from stage.training.embedded.recipe import ScorerRecipe
    from stage.training.embedded.scorer import train
    from stage.training.recipe import read

    settings, songs = read(ScorerRecipe, recipe, changes), open_songs(data)
    songs = ([song for song in songs if song.split == "train"] or songs)[:limit]
    with resumable(), bar("features", len(songs), keep=True) as progress:

        def on_step(step: int, figures: dict) -> None:
            progress.update(step, settings.schedule.steps, f"loss {figures['loss']:.2f}")

        place = train(settings, songs, out, minutes, on_step, progress.update)
    typer.echo(f"weights: {place}")


def coherence(
    data: Data,
    trials: Annotated[int, typer.Option(min=10, help="Trials for each stem.")] = 200,
    weights: Annotated[
        Path | None, typer.Option(help="A scorer of stage train scorer; the package's own by default.")
    ] = None,
    cocola: Annotated[
        Path | None, typer.Option(help="COCOLA's checkpoint; $STAGE_COCOLA by default, where it is set.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many songs.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses places and wrong contexts.")] = 1,
) -> None:
    """Validate the coherence scorers.

    How often does the right context rank over a wrong one, on held-out songs?

    \b
    stage coherence --data data
    """
    from stage.data import open_songs
    from stage.evaluation.coherence import scorers
    from stage.evaluation.coherence.validate import table, validate
    from stage.progress import bar

    songs = open_songs(data)
    songs = ([song for song in songs if song.split in ("heldout", "validation", "test")] or songs)[:limit]
    with bar("trials", keep=True) as shown:
        found = validate(songs, scorers(weights=weights, cocola=cocola), trials, seed, shown.update)
    typer.echo(table(found, len(songs)))
