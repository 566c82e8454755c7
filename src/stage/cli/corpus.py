"""`stage corpus`: the command line's way into the corpus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from stage.cli.lazy import spelled
from stage.corpus.build import build
from stage.progress import bar


@spelled(last=("--out", "-o"))
def corpus(
    out: Annotated[Path, typer.Argument(help="Folder that gets <split>/<song>/song.json and the stems.")],
    split: Annotated[
        str, typer.Option(help="train or heldout: they share no progressions, grooves or presets.")
    ] = "train",
    songs: Annotated[int, typer.Option(help="How many songs; those that are there already are kept.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same songs.")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of a song.")] = 32.0,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one for each core.")] = 0,
    grooves: Annotated[
        Path | None, typer.Option(help="The Groove MIDI Dataset's ZIP: its drummers play some of the songs.")
    ] = None,
    share: Annotated[float, typer.Option(help="Of the songs that a drummer fits, those that one plays.")] = 0.5,
) -> None:
    """Compose and render multitrack songs (needs fluidsynth and its soundfonts)."""
    with bar(f"{split} songs", songs) as shown:
        made = build(
            out,
            split,
            songs=songs,
            seed=seed,
            seconds=seconds,
            workers=workers or os.cpu_count() or 1,
            on_song=lambda done, total: shown.update(done, total),
            grooves=grooves,
            share=share,
        )
    typer.echo(f"{made} new songs in {out / split}")
