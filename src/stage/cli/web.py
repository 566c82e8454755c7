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
    most_gb: Annotated[float, typer.Option("--most-gb", help="Gigabytes that the folder may hold.")] = 20.0,
    workers: Annotated[
        int, typer.Option(help="Processes that answer; 0: none, only the jobs are done (docs/web.md).")
    ] = 1,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
) -> None:
    """Open the page: drop a song, add stems, keep takes, export.

    \b
    stage web
    stage web --data ~/music/stage --port 9000 --no-browser
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
        data_bytes=round(most_gb * 2**30),
    )
    serve(settings, not no_browser, lambda address: typer.echo(f"{address} (Ctrl-C ends it)"), workers)
