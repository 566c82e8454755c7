"""`stage corpus`: the command line's way into the corpus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from stage.cli.lazy import spelled
from stage.corpus import midi_songs
from stage.corpus.build import build
from stage.corpus.build_midi import build_midi
from stage.errors import StageError
from stage.progress import bar


@spelled(last=("--out", "-o"))
def corpus(
    out: Annotated[Path, typer.Argument(help="Folder that gets <split>/<song>/song.json and the stems.")],
    split: Annotated[
        str, typer.Option(help="train or heldout: they share no progressions, grooves or presets.")
    ] = "train",
    songs: Annotated[
        int | None, typer.Option(help="How many songs, 1000 by default; those that are there already are kept.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same songs.")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of a song.")] = 32.0,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one for each core.")] = 0,
    grooves: Annotated[
        Path | None, typer.Option(help="The Groove MIDI Dataset's ZIP: its drummers play some of the songs.")
    ] = None,
    share: Annotated[float, typer.Option(help="Of the songs that a drummer fits, those that one plays.")] = 0.5,
    midi: Annotated[
        Path | None, typer.Option(help="Render the MIDI files in this folder, in pieces, in place of composing.")
    ] = None,
) -> None:
    """Compose and render multitrack songs, or render those of MIDI files (needs fluidsynth and its soundfonts)."""
    processes = workers or os.cpu_count() or 1
    if midi is not None:
        if grooves is not None:
            raise StageError("--grooves gives drums to composed songs, and --midi composes none: give one of them.")
        _render_files(out, midi, split, songs, seed, seconds, processes)
        return
    wanted = 1000 if songs is None else songs
    with bar(f"{split} songs", wanted) as shown:
        made = build(
            out,
            split,
            songs=wanted,
            seed=seed,
            seconds=seconds,
            workers=processes,
            on_song=lambda done, total: shown.update(done, total),
            grooves=grooves,
            share=share,
        )
    typer.echo(f"{made} new songs in {out / split}")


def _render_files(
    out: Path, folder: Path, split: str, most: int | None, seed: int, seconds: float, workers: int
) -> None:
    """Render MIDI files, say what could not be used, and fail where nothing could."""
    files = midi_songs.find(folder)[:most]
    with bar(f"{split} files", len(files)) as shown:
        new, there, wrong = build_midi(
            out, files, split, seed, seconds, workers, on_file=lambda done, total: shown.update(done, total)
        )
    for why in wrong:
        typer.echo(f"not used: {why}", err=True)
    if not there and wrong:
        raise StageError(f"none of the {len(files)} MIDI files in {folder} could be used")
    typer.echo(f"{new} new songs from {len(files) - len(wrong)} of {len(files)} MIDI files in {out / split}")
