"""`stage convert` and `stage models`: weights in, from files and from the hub."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stage.checkpoints import hub, installed, licences, settings
from stage.checkpoints.importers import T5
from stage.checkpoints.paths import models
from stage.cli.lazy import PLAIN, Entry, lazy_group, spelled
from stage.errors import StageError
from stage.progress import Bar, bar

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
    """The torch dtype of this name. Raises StageError for another one."""
    if name is None:
        return None
    import torch

    kinds = {"float32": torch.float32, "bf16": torch.bfloat16}
    if name not in kinds:
        raise StageError(f'weights are not stored in "{name}": choose float32 or bf16')
    return kinds[name]


def _shares(bar: Bar) -> Callable[[float], None]:
    """Shows the share that is converted, 0..1."""
    bar.begin("converting", 1.0)
    return bar.update


@spelled(last=("--out", "-o"))
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

    The format is recognised. MusicGen becomes a base for the stems that you name, which is then to be fine-tuned for
    them.
    """
    from stage.checkpoints.convert import convert as write

    path, options = Path(source), {}
    if not path.exists() and hub.is_name(source):
        fetched = hub.fetch(source, revision)
        path, options["origin"] = fetched.path, f"{source} @ {fetched.commit}"
        if licence := licences.written(hub.licence(fetched)):
            options["licence"] = licence
    kind = _dtype(dtype)
    with bar(count=False) as drawn:
        write(path, out, stems=stem or (), name=name, dtype=kind, t5=t5, on_share=_shares(drawn), **options)
    _licence(out)
    typer.echo(str(out))


def _licence(folder: Path) -> None:
    licence = settings.read(folder).stage.licence
    if licence and not licences.is_free(licence):
        typer.echo(f"note: these weights are under {licence}; it is kept in {folder / settings.NAME}", err=True)


def show(as_json: bool) -> None:
    """Print the models at hand."""
    from rich.console import Console
    from rich.table import Column, Table

    found = installed.installed()
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
    Console(markup=False).print(table)
    for model in found:
        if model.problem:
            typer.echo(f"{model.name} is damaged, remove it and get it again: {model.problem}", err=True)
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

    A download that was interrupted continues where it stopped. HF_HOME, HF_TOKEN and HF_HUB_OFFLINE apply.
    """

    def agree(licence: str) -> bool:
        typer.echo(f"{name} is under {licences.terms(licence)}", err=True)
        return accept_licence or (sys.stdin.isatty() and typer.confirm("Do you accept it?", err=True))

    kind = _dtype(dtype)
    with bar(count=False) as drawn:
        made = installed.get(name, stem or (), revision, own, kind, t5, agree, _shares(drawn))
    typer.echo(f"{made.name}: play it with --model {made.name}")


def remove(
    name: Annotated[str, typer.Argument(help="An installed model.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete an installed model from this disk."""
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Delete {name}?", err=True)):
        raise StageError(f"{name} was not deleted: confirm it with --yes")
    typer.echo(f"deleted {installed.remove(name)}")
