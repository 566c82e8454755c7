"""`stage web`: sessions in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def web(
    data: Annotated[
        Path | None, typer.Option(help="Folder of the sessions; stage in your data folder by default.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.")] = 8765,
    host: Annotated[str, typer.Option(help="Where it listens; beyond this machine with --token.")] = "127.0.0.1",
    token: Annotated[
        str, typer.Option(envvar="STAGE_TOKEN", help="What others must send to be answered; 12 letters or more.")
    ] = "",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name by which the server may be called; once for each.")
    ] = None,
    model: Annotated[str, typer.Option(help="Model that plays; `stage models` lists them.")] = "player",
    precision: Annotated[str, typer.Option(help="Of the model's weights: auto, float32, bf16, int8 ...")] = "auto",
    keep_days: Annotated[
        float, typer.Option(help="Remove sessions that were not changed for so many days; 0: never.")
    ] = 0.0,
    most_gb: Annotated[float, typer.Option(help="Gigabytes that the folder may hold.", rich_help_panel="Limits")] = 20,
    free_gb: Annotated[
        float, typer.Option(help="Gigabytes of its disk that stay free.", rich_help_panel="Limits")
    ] = 0.5,
    song_mb: Annotated[float, typer.Option(help="Megabytes of a song's file.", rich_help_panel="Limits")] = 500,
    song_minutes: Annotated[float, typer.Option(help="Length of a song, up to 10.", rich_help_panel="Limits")] = 10,
    queue: Annotated[int, typer.Option(help="Jobs that may wait.", rich_help_panel="Limits")] = 256,
    session_queue: Annotated[
        int, typer.Option(help="Jobs of one session that may wait.", rich_help_panel="Limits")
    ] = 64,
    idle_minutes: Annotated[
        float,
        typer.Option(help="After so long without work the model's memory is given back.", rich_help_panel="Limits"),
    ] = 15,
    threads: Annotated[int, typer.Option(help="That the model uses; 0: as many as there are.")] = 0,
    workers: Annotated[
        int, typer.Option(help="Processes that answer; 0: none, only the jobs are done (docs/web.md).")
    ] = 1,
    debug: Annotated[bool, typer.Option("--debug", help="Each answer names its process, in x-process.")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
) -> None:
    """Open the page: drop a song, add stems, keep takes, export.

    \b
    stage web
    stage web --data ~/music/stage --port 9000 --no-browser
    stage web --song-minutes 5 --queue 20
    stage web --host 0.0.0.0 --token "$(openssl rand -hex 16)" --keep-days 30
    """
    from stage.checkpoints import installed
    from stage.checkpoints.paths import home
    from stage.web.serve import serve
    from stage.web.settings import Settings

    installed.find(model)
    settings = Settings(
        data=(data or home() / "web").expanduser().resolve(),
        host=host,
        port=port,
        token=token,
        hosts=tuple(allow_host or ()),
        model=model,
        precision=precision,
        keep_days=keep_days,
        threads=threads,
        upload_bytes=song_mb * 2**20,
        song_seconds=60 * song_minutes,
        session_jobs=session_queue,
        queue_jobs=queue,
        data_bytes=most_gb * 2**30,
        free_bytes=free_gb * 2**30,
        idle_seconds=60 * idle_minutes,
        debug=debug,
    )
    serve(settings, not no_browser, lambda address: typer.echo(f"{address} (Ctrl-C ends it)"), workers)
