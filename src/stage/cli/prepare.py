"""`stage prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.lazy import spelled
from stage.progress import bar

Kind = Annotated[str, typer.Option(help="auto, moisesdb, musdb18, musdb18-hq, slakh, corpus or folder.")]


@spelled(first=("--data",), last=("--out", "-o"))
def prepare(
    dataset: Annotated[
        str,
        typer.Argument(help="Folder of a data set: MoisesDB, MUSDB18, Slakh2100, stage corpus, or song/drums.wav ..."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the result; one that holds a part of it goes on.")],
    kind: Kind = "auto",
    rate: Annotated[int, typer.Option(min=8000, max=192000, help="The model's sampling rate in Hz.")] = 32000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(help='Work on a Ray cluster that shares both folders: its address, "auto", or "local".'),
    ] = None,
    split: Annotated[
        str, typer.Option(help="auto (the data set's own, else by artist), own, artist, or paper (the last 24 ids).")
    ] = "auto",
    held: Annotated[
        float,
        typer.Option(min=0.0, max=0.9, help="Share of the artists that is held out, where the split is by artist."),
    ] = 0.1,
    tracker: Annotated[
        str, typer.Option(help="For songs without beats: beat-this, stage, or auto (Beat This! where it is installed).")
    ] = "auto",
    leave_out: Annotated[
        list[str] | None, typer.Option("--leave-out", help="A stem that is not kept, e.g. vocals. May be repeated.")
    ] = None,
    shard_megabytes: Annotated[float, typer.Option(min=0.001, help="Size of a shard.")] = 512,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many songs.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the checksums of what is prepared.")] = False,
) -> None:
    """Bring a data set to a model's rate, with beats, tags, loudness and silence map, in shards.

    \b
    stage prepare moisesdb songs --workers 8
    stage prepare my-multitracks songs --split artist
    stage train finetune recipes/drums.yaml --base musicgen-small --data songs --out runs/drums

    Songs that are done are never done again: after Ctrl-C the same command goes on. Songs that cannot be used
    are named and left out. OUT/summary.html shows what there is. docs/data.md describes every data set.
    """
    from rich.console import Console

    from stage.data.open import open_songs
    from stage.data.prepare import Settings
    from stage.data.prepare import prepare as work
    from stage.data.prepared import verify as check
    from stage.data.summary import lines, summarise, write_page

    console = Console(soft_wrap=True, highlight=False)
    if verify:
        wrong = check(out)
        console.print("\n".join(f"damaged: {name}" for name in wrong) or "all shards are whole")
        raise typer.Exit(1 if wrong else 0)
    with bar("opening") as shown:
        problems = work(
            dataset,
            out,
            Settings(rate, tracker, tuple(leave_out or ())),
            kind=kind,
            split=split,
            held=held,
            workers=workers,
            ray=ray,
            shard_megabytes=shard_megabytes,
            limit=limit,
            on_song=lambda done, total, name: shown.update(done, total, name),
        )
    summary = summarise(open_songs(out))
    write_page(out / "summary.html", f"{Path(dataset).name}, prepared at {rate} Hz", summary, problems)
    console.print("\n".join(lines(summary, problems)))
    console.print(f"{out / 'summary.html'}")
