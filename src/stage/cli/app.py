"""The command line: one subcommand is one typed function, and no logic of its own lives here.

Only typer is imported at the top: `stage --help` answers at once, and torch comes when there is something to play.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from stage import __version__
from stage.cli import adapters as adapters_command
from stage.cli import play
from stage.errors import MissingExtra, ReaderGone, StageError

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""
UNHEARD = 141
"""Exit code when the reader of our output has gone, as shells have it for a broken pipe."""

EXAMPLES = """
A new stem that follows a recording, or just a tempo.

\b
  stage accompany song.mp3 --stem drums
  stage accompany song.mp3 --stem bass --start 30 --seconds 20 --variations 4
  stage accompany song.mp3 --stem drums --prompt "sparse, slow ballad" -o ideas
  stage accompany song.mp3 --stem drums --play
  stage click --bpm 128 --meter 4/4 --bars 8 --stem drums

`stage COMMAND --help` tells the rest. Stem and mix are WAV files at the song's own
sampling rate, as long as the chosen part: drop them on a track and they are in time.
"""

app = typer.Typer(
    help=EXAMPLES, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
models = typer.Typer(help="The models at hand; get more from the hub, or remove them.", rich_markup_mode=None)
train = typer.Typer(help="Train a codec or a decoder from a recipe file.", no_args_is_help=True, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"stage {__version__}")
        raise typer.Exit()


app.command()(play.accompany)
app.command()(play.click)


WINGS = {
    "evaluate": (
        "stage.cli.evaluate",
        "evaluate",
        "Judge a model by the paper's protocols, on any songs, with all controls.",
    ),
    "acceptance": (
        "stage.cli.acceptance",
        None,
        "Measure a model against what is asked of the embedded one, on our corpus.",
    ),
    "coherence": ("stage.cli.coherence", None, "Validate the coherence scorers on held-out songs."),
    "bench": ("stage.cli.bench", None, "Measure speed, memory and exactness against transformers."),
    "convert": ("stage.cli.models", None, "Turn weights of MusicGen or of STAGE's authors into a model."),
    "models get": ("stage.cli.models", None, "Download a model from the hub and install it."),
    "models remove": ("stage.cli.models", None, "Delete an installed model."),
    "corpus": ("stage.cli.corpus", "corpus", "Compose and render multitrack songs that are free to use."),
    "data": ("stage.cli.data", None, "List what a data set holds, and what of it cannot be used."),
    "prepare": ("stage.cli.prepare", "train", "Bring a data set to a model's rate, with beats, tags and loudness."),
    "train codec": ("stage.cli.train", "train", "Train a codec from a recipe file."),
    "train views": ("stage.cli.train", "train", "Cut and encode a corpus into what a decoder is trained on."),
    "train decoder": ("stage.cli.train", "train", "Train a decoder from a recipe file."),
    "train finetune": ("stage.cli.train", "train", "Fine-tune a decoder on stems, from a recipe file."),
    "train scorer": ("stage.cli.coherence", "train", "Train the offline coherence scorer."),
    "train tracker": ("stage.cli.train", "train", "Train the beat network for music without drums."),
}
"""Subcommand -> module with a typed function of that name, the extra that it needs, a summary."""


def wing(path: str) -> Any:
    """The subcommand of a wing, imported only now; MissingExtra says which extra is not installed."""
    import importlib

    module, extra, _ = WINGS[path]
    name = path.split()[-1]
    try:
        function = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").split(".")[0] == "stage":
            raise
        raise MissingExtra(f"stage {path} ({error.name})", extra) from None
    inner = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    inner.command(name)(function)
    return typer.main.get_command(inner)


def _forward(path: str) -> None:
    """Add a subcommand that hands its arguments on to its wing."""

    def run(context: typer.Context) -> None:
        code = wing(path).main(args=context.args, prog_name=f"stage {path}", standalone_mode=False)
        raise typer.Exit(code if isinstance(code, int) else 0)

    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    parent = {"train": train, "models": models}.get(path.split()[0], app)
    parent.command(path.split()[-1], help=WINGS[path][2], add_help_option=False, context_settings=settings)(run)


@models.callback(invoke_without_command=True)
def shelf(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """The models at hand: name, stems, size, precision, licence and origin. get: more, from the hub; remove: delete
    one."""
    if context.invoked_subcommand is None:
        from stage.cli.models import show

        show(as_json)


app.add_typer(train, name="train")
app.add_typer(models, name="models")
app.add_typer(adapters_command.app, name="adapters")
for _path in WINGS:
    _forward(_path)


def run(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. Expected errors are one line on stderr and code 2."""
    usage_error = typer.BadParameter.__mro__[1]  # typer may carry its own click, so the class is asked of typer
    try:
        code = typer.main.get_command(app).main(args=args, prog_name="stage", standalone_mode=False)
    except StageError as error:
        return _complain(str(error))
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return 2
        where = getattr(error, "ctx", None)
        return _complain(f"{error.format_message()} (see: {where.command_path if where else 'stage'} --help)")
    except ReaderGone:
        return UNHEARD
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except Exception as error:
        if os.environ.get("STAGE_DEBUG"):
            raise
        return _complain(
            f"unexpected error, please report it ({type(error).__name__}: {error}). STAGE_DEBUG=1 shows where it"
            " happened",
            1,
        )
    if code == STOPPED:  # also typer's own answer to Ctrl-C
        return _complain("stopped; unfinished results were not kept", STOPPED)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int = 2) -> int:
    """Print one line; returns the code."""
    print("stage: " + " ".join(message.split()), file=sys.stderr)
    return code


def main() -> None:
    """The console script. Being told to end is like Ctrl-C: clean up, then go."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run())


if __name__ == "__main__":
    main()
