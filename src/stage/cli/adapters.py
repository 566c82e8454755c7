"""`stage adapters`: what is installed, what one is, and a plain model made of base and adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.lazy import PLAIN, Sections

HELP = """
Adapters: small files that teach a model one more instrument or style.

\b
  stage adapters
  stage adapters info jazz-drums
  stage accompany song.mp3 --adapter jazz-drums --stem drums
  stage adapters merge sketch jazz-drums jazz-drummer

Adapters are installed by moving their folder into the folder that `stage adapters list` names
(set STAGE_HOME to choose another place), or used from anywhere by path.
"""

app = typer.Typer(help=HELP, invoke_without_command=True, **PLAIN)
AdapterArgument = Annotated[str, typer.Argument(help="An installed adapter's name, or a folder with adapter.json.")]


@app.callback()
def common(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show_all()


@app.command("list")
def show_all() -> None:
    """List the installed adapters: stem, base, size, licence."""
    from rich.console import Console
    from rich.table import Table

    from stage.checkpoints import adapters, paths

    folders = adapters.installed()
    typer.echo(f"{len(folders)} installed in {paths.adapters()}")
    if not folders:
        return
    table = Table("adapter", "stem", "base", "rank", "MB", "licence", box=None, pad_edge=False)
    for folder in folders:
        table.add_row(folder.name, *_cells(folder))
    Console(soft_wrap=True, markup=False).print(table)


@app.command()
def info(adapter: AdapterArgument) -> None:
    """Describe an adapter, and check that it is whole."""
    from stage.checkpoints import adapters

    folder = adapters.find(adapter)
    config = adapters.load(folder).config
    shape = config.shape
    lines = {
        "name": config.name,
        "stem": config.stem,
        "folder": folder,
        "base": f"{config.base} (width {shape.dim}, {shape.layers} layers, weights {config.fingerprint})",
        "changes": f"{', '.join(config.layers)}: rank {config.rank}, alpha {config.alpha:g}",
        "size": f"{_megabytes(folder)} MB",
        "licence": config.licence or "not stated",
    }
    for key, value in lines.items():
        typer.echo(f"{key + ':':<9} {value}")


class Merge(Sections):
    """`--model` and `--out` may stand in place of the first and the last argument."""

    first, last = ("--model",), ("--out", "-o")


@app.command(cls=Merge)
def merge(
    model: Annotated[str, typer.Argument(help="The base: a model in the package, or a checkpoint folder.")],
    adapter: AdapterArgument,
    out: Annotated[Path, typer.Argument(help="A new folder for the merged model.")],
) -> None:
    """Write base and adapter as one plain model that plays the adapter's stem: `stage accompany --model OUT`."""
    from rich.console import Console

    from stage.checkpoints import adapters
    from stage.errors import StageError

    if out.exists():
        raise StageError(f"{out} exists; choose another folder")
    adapters.describe(adapter)
    with Console(stderr=True).status("loading the base") as status:
        from stage.pipeline import Stage

        stage = Stage.from_pretrained(model, device="cpu", precision="float32")
        stem = stage.load_adapter(adapter, replace=True)
        status.update("merging and writing")
        stage.merge_adapter(stem).save_pretrained(str(out))
    typer.echo(out)


def _cells(folder: Path) -> list[str]:
    """An adapter's row of the list; a damaged one is marked."""
    from stage.checkpoints import adapters
    from stage.errors import StageError

    try:
        config = adapters.describe(folder)
    except StageError:
        return ["damaged: see stage adapters info", "", "", "", ""]
    return [config.stem, config.base, str(config.rank), _megabytes(folder), config.licence or "not stated"]


def _megabytes(folder: Path) -> str:
    from stage.checkpoints import adapters

    path = folder / adapters.WEIGHTS
    return f"{path.stat().st_size / 1e6:.1f}" if path.is_file() else "missing"
