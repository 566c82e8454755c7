"""The commands, and what becomes of their errors. One subcommand is one typed function in a file of this folder.

Nothing heavy is imported at the top: `stage --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Annotated

import typer

from stage import __version__, deterministic, threads
from stage.cli.lazy import PLAIN, Entry, lazy_group
from stage.errors import Interrupted, ReaderGone, StageError
from stage.models import malloc

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a device that takes no more, be it a disk or standard output."""
NO_READER = 141
"""Exit code when the program that reads our output has ended, as shells have it for a broken pipe."""

EXAMPLES = """
A new stem that fits your recording, or just a tempo.

\b
  stage accompany song.mp3 --stem drums
  stage accompany song.mp3 --stem bass --start 30 --seconds 20 --variations 4
  stage accompany song.mp3 --stem drums --prompt "sparse, slow ballad" -o ideas
  stage accompany song.mp3 --stem drums --play
  stage click --bpm 128 --meter 4/4 --bars 8 --stem drums

`stage COMMAND --help` explains a command. Stem and mix are WAV files at the song's own
sampling rate, as long as the chosen part: drop them on a track and they are in time.
"""

COMMANDS = {
    "accompany": Entry("stage.cli.play:accompany", "Play a new stem to a recording.", "Play"),
    "click": Entry("stage.cli.play:click", "Play a stem to a metronome.", "Play"),
    "web": Entry("stage.cli.web:web", "Open the page in a browser.", "Play", "web"),
    "session": Entry("stage.cli.session.app:app", "Build an arrangement take by take.", "Play"),
    "band": Entry("stage.cli.handoff:band", "Play a whole band to a song or chords.", "Play"),
    "export": Entry("stage.cli.handoff:export", "Write results as DAW projects.", "Play"),
    "chords": Entry("stage.cli.chords:chords", "Print the chords of a recording.", "Play"),
    "sound": Entry("stage.cli.sound:sound", "Sound a MIDI file on sampled instruments.", "Play"),
    "models": Entry("stage.cli.models:app", "List, get and remove models.", "Play"),
    "adapters": Entry("stage.cli.adapters:app", "List, describe and merge adapters.", "Play"),
    "data": Entry("stage.cli.data:data", "List what a data set holds.", "Data"),
    "prepare": Entry("stage.cli.prepare:prepare", "Bring a data set to a model's rate.", "Data", "train"),
    "corpus": Entry("stage.cli.corpus:corpus", "Compose and render songs to train on.", "Data", "corpus"),
    "train": Entry("stage.cli.train:app", "Fine-tune, or train from nothing.", "Train"),
    "convert": Entry("stage.cli.models:convert", "Convert weights of MusicGen or STAGE.", "Train"),
    "evaluate": Entry("stage.cli.evaluate:evaluate", "Run the paper's protocols on a model.", "Measure", "evaluate"),
    "acceptance": Entry("stage.cli.acceptance:acceptance", "Measure a shipped model on our corpus.", "Measure"),
    "coherence": Entry("stage.cli.coherence:coherence", "Validate the coherence scorers.", "Measure"),
    "bench": Entry("stage.cli.bench:bench", "Measure speed, memory and exactness.", "Measure"),
}

app = typer.Typer(cls=lazy_group(COMMANDS), help=EXAMPLES, no_args_is_help=True, **PLAIN)


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"stage {__version__}")
        raise typer.Exit()


def run(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. Expected errors are one line on stderr and code 2."""
    _settle()
    usage_error = typer.BadParameter.__mro__[1]  # typer may carry its own click, so the class is asked of typer
    try:
        code = typer.main.get_command(app).main(args=args, prog_name="stage", standalone_mode=False)
    except StageError as error:
        return _complain(str(error))
    except Interrupted:
        return STOPPED
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return 2
        where = getattr(error, "ctx", None)
        return _complain(f"{error.format_message()} (see: {where.command_path if where else 'stage'} --help)")
    except (ReaderGone, SystemExit):  # click and rich leave by the latter where standard output is closed
        return NO_READER
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except OSError as error:
        if error.errno not in NO_ROOM:
            return _unexpected(error)
        return _complain(f"cannot write the output: {error.strerror}")
    except Exception as error:
        return _unexpected(error)
    if code == STOPPED:  # also typer's own answer to Ctrl-C
        return _complain("stopped; unfinished results were not kept", STOPPED)
    return code if isinstance(code, int) else 0


def _settle() -> None:
    """Settings of this process that a library must not make for its host: the same sums whatever the threads, quiet
    threads of numpy's and torch's, and freed memory that is kept (not before numpy and torch are asked for)."""
    deterministic()
    # numpy's threads sleep at once when a product is done: their usual busy waiting takes the cores from torch's
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "10")
    threads.wait_shortly()
    malloc.keep()


def _unexpected(error: Exception) -> int:
    """A line on an error that nobody foresaw; returns the code. Raises it where STAGE_DEBUG is set."""
    if os.environ.get("STAGE_DEBUG"):
        raise error
    return _complain(
        f"unexpected error, please report it ({type(error).__name__}: {error}). STAGE_DEBUG=1 shows where it happened",
        1,
    )


def _complain(message: str, code: int = 2) -> int:
    """Print one line on stderr, where there is one; returns the code."""
    if sys.stderr is not None:
        try:
            print("stage: " + " ".join(message.split()), file=sys.stderr)
        except (OSError, ValueError):  # closed
            pass
    return code


def degrade() -> None:
    """Let the console write what it can: characters that its encoding lacks come out as escapes, not as errors."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """The console script. SIGTERM is treated like Ctrl-C: clean up, then end.

    Once the command is done both are ignored: its exit code stands while Python ends, which takes a moment with torch,
    and for which Python gives up its handlers.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    degrade()
    try:
        code = run()
    except KeyboardInterrupt:  # a second signal, while the first was answered
        code = STOPPED
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
