"""`stage convert` and `stage models`: weights in, from files and from the hub."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stage.checkpoints.importers.detect import T5
from stage.cli.lazy import PLAIN, Entry, lazy_group
from stage.errors import StageError

COMMANDS = {
    "get": Entry("stage.cli.models:get", "Download a model from the hub, install it."),
    "remove": Entry("stage.cli.models:remove", "Delete an installed model."),
}
app = typer.Typer(cls=lazy_group(COMMANDS), invoke_without_command=True, **PLAIN)


@app.callback(help="List the models at hand: name, stems, size, precision, licence and origin.")
def common(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        show(as_json)


StemsOption = Annotated[
    list[str] | None,
    typer.Option("--stem", help="What it plays, or is to learn; once for each. None: MusicGen itself."),
]
NameOption = Annotated[str, typer.Option(help="Name in its card; that of the folder by default.")]
DtypeOption = Annotated[str | None, typer.Option(help="float32 or bf16; as stored by default.")]
T5Option = Annotated[
    str, typer.Option("--t5", help="Folder or hub name of T5, for checkpoints that leave it, or its tokenizer, out.")
]


def _dtype(name: str | None):
    import torch

    kinds = {"float32": torch.float32, "bf16": torch.bfloat16, None: None}
    if name not in kinds:
        raise StageError(f'"{name}" is not what weights are stored in: choose float32 or bf16')
    return kinds[name]


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on the terminal: told the share that is done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda share: progress.update(task, completed=share)


def convert(
    source: Annotated[str, typer.Argument(help="A folder or file with weights, or a name on the hub (owner/name).")],
    out: Annotated[Path, typer.Argument(help="The new folder.")],
    stem: StemsOption = None,
    name: NameOption = "",
    dtype: DtypeOption = None,
    t5: T5Option = T5,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit, for a name on the hub.")] = None,
) -> None:
    """Turn weights of MusicGen or of STAGE's authors into a folder that --model takes.

    \b
    stage convert stage-drums.safetensors models/stage-drums
    stage convert facebook/musicgen-small models/base --stem drums --dtype bf16
    stage convert my-audiocraft-folder models/mine --stem bass --t5 ./t5-base

    The kind is recognised by itself. MusicGen becomes a base for the stems that you name: it has yet to be fine-tuned
    for them.
    """
    from stage.checkpoints import hub
    from stage.checkpoints import installed as shelf
    from stage.checkpoints.convert import convert as write

    path, options = Path(source), {}
    if not path.exists() and hub.is_name(source):
        fetched = hub.fetch(source, revision)
        path, options["origin"] = fetched.path, f"{source} @ {fetched.commit}"
        if licence := shelf.written(hub.licence(fetched)):
            options["licence"] = licence
    with _bar("converting") as on_share:
        write(path, out, stems=stem or (), name=name, dtype=_dtype(dtype), t5=t5, on_share=on_share, **options)
    _licence(out)
    typer.echo(str(out))


def _licence(folder: Path) -> None:
    from stage.checkpoints.installed import is_free

    licence = json.loads((folder / "config.json").read_text())["stage"]["licence"]
    if licence and not is_free(licence):
        typer.echo(f"note: these weights are under {licence}; it is kept in {folder / 'config.json'}", err=True)


def show(as_json: bool) -> None:
    """Print the models at hand."""
    from rich.console import Console
    from rich.table import Column, Table

    from stage.checkpoints.installed import installed
    from stage.checkpoints.paths import models

    found = installed()
    if as_json:
        typer.echo(json.dumps([asdict(model) | {"path": str(model.path)} for model in found]))
        return
    table = Table(Column("name", no_wrap=True), "stems", "parameters", "on disk", "stored in", "licence", "from")
    for model in found:
        table.add_row(
            model.name,
            ", ".join(model.stems) or "whole music",
            f"{model.parameters / 1e6:.0f} M",
            f"{model.size / 1e6:.0f} MB",
            model.precision,
            model.licence,
            "the package" if model.shipped else model.origin,
        )
    Console().print(table)
    typer.echo(f"installed ones are kept in {models()}", err=True)


def get(
    name: Annotated[str, typer.Argument(help="Name on the hub, like facebook/musicgen-small.")],
    stem: StemsOption = None,
    own: Annotated[
        str, typer.Option("--name", help="Name to install it under; musicgen-small-drums, say, by default.")
    ] = "",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit; the newest by default.")] = None,
    dtype: DtypeOption = None,
    t5: T5Option = T5,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read the licence of the weights and accept it.")
    ] = False,
) -> None:
    """Download a model from the hub, convert it and install it under a name.

    \b
    stage models get facebook/musicgen-small --stem drums --dtype bf16
    stage models get facebook/musicgen-small --revision 4c8334b02c6e

    A download that breaks off goes on where it stopped. HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are honoured.
    """
    from stage.checkpoints import installed as shelf

    def agree(licence: str) -> bool:
        typer.echo(f"{name} is under {shelf.terms(licence)}", err=True)
        return accept_licence or (sys.stdin.isatty() and typer.confirm("Do you accept it?", err=True))

    with _bar("converting") as on_share:
        made = shelf.get(name, stem or (), revision, own, _dtype(dtype), t5, agree, on_share)
    typer.echo(f"{made.name}: play it with --model {made.name}")


def remove(
    name: Annotated[str, typer.Argument(help="An installed model.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete an installed model from this disk."""
    from stage.checkpoints import installed as shelf

    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Delete {name}?", err=True)):
        raise StageError(f"{name} was not deleted: confirm it with --yes")
    typer.echo(f"deleted {shelf.remove(name)}")
