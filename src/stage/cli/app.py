"""The command line: one subcommand is one typed function, and no logic of its own lives here.

Only typer is imported at the top: `stage --help` answers at once, and torch comes when there is something to play.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stage import __version__
from stage.cli import adapters as adapters_command
from stage.errors import MissingExtra, ReaderGone, StageError

if TYPE_CHECKING:
    from stage.generation.result import Accompaniment
    from stage.pipeline import Progress, Stage

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

StemOption = Annotated[str, typer.Option("--stem", help="Instrument to play: drums or bass with the embedded model.")]
PromptOption = Annotated[str, typer.Option("--prompt", help='Style in words, like "busy, driving funk".')]
VariationsOption = Annotated[int, typer.Option("--variations", help="How many to make; each has its own seed.")]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Seed of the first variation. The same seed gives the same stem.")
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the results; NAME-stage by default. -: the stem, as WAV on standard output while it is made.",
    ),
]
PlayOption = Annotated[
    bool, typer.Option("--play", help="Hear song and stem while it is made, by ffplay, sox, aplay or $STAGE_PLAYER.")
]
RawOption = Annotated[
    bool, typer.Option("--raw", help="With -o -: float32, little endian, without a header, in place of WAV.")
]
GainOption = Annotated[
    float | None, typer.Option("--gain", help="dB for --play and -o -; by default what suits a usual stem.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace results that exist.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="A model in the package or installed (stage models), or a folder.")
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="float32, float16, bf16, int8 or int4: fewer bits are faster. auto: what suits model and machine.",
    ),
]
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", help="An adapter that plays its stem on the model: a name from `stage adapters`, or a folder."
    ),
]
GuidanceOption = Annotated[
    float | None, typer.Option("--guidance", help="How closely to follow the music (1: not pushed).")
]
TextOption = Annotated[
    float | None, typer.Option("--text-guidance", help="How closely to follow the prompt, apart from the music.")
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", help="Choose among this many of the likeliest codes; 0 for all.")
]
TopPOption = Annotated[
    float | None, typer.Option("--top-p", help="Choose among the codes that reach this probability; 0 for all.")
]
TemperatureOption = Annotated[float | None, typer.Option("--temperature", help="Below 1 safer, above 1 wilder.")]


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"stage {__version__}")
        raise typer.Exit()


@app.command()
def accompany(
    song: Annotated[Path, typer.Argument(help="Any audio file, or a video with sound.")],
    stem: StemOption,
    prompt: PromptOption = "",
    start: Annotated[float, typer.Option(help="Where in the song to begin, in seconds.")] = 0.0,
    seconds: Annotated[float | None, typer.Option(help="How much to accompany; to the end by default.")] = None,
    variations: VariationsOption = 1,
    seed: SeedOption = 0,
    out: FolderOption = None,
    play: PlayOption = False,
    raw: RawOption = False,
    gain: GainOption = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help=(
                "on: give the model the tracked beats too. off: the sound alone. Or a file of beats, one 'seconds"
                " number' a line."
            )
        ),
    ] = None,
    save_grid: Annotated[
        Path | None, typer.Option(help="Also write the beats that were used, to mend and give back with --grid.")
    ] = None,
    stream: Annotated[int, typer.Option(help="Which audio stream of a file with several, from 0.")] = 0,
    guidance: GuidanceOption = None,
    text_guidance: TextOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    temperature: TemperatureOption = None,
    model: ModelOption = "embedded",
    precision: PrecisionOption = "auto",
    adapter: AdapterOption = None,
    force: ForceOption = False,
) -> None:
    """Play a new stem to a recording.

      \b
        stage accompany song.mp3 --stem drums
        stage accompany song.wav --stem bass --start 30 --seconds 20 --variations 4 -o ideas
        stage accompany song.flac --stem drums --save-grid beats.txt
        stage accompany song.flac --stem drums --grid beats.txt --seed 7
    stage accompany song.mp3 --stem drums --play

      For each variation the folder gets NAME.STEM.SEED.wav (the stem), NAME.STEM.SEED.mix.wav
      (song and stem) and NAME.STEM.SEED.png (waveforms, beats, spectrogram). `-o -` writes the
      stem to standard output instead, `-o - | ffplay -` say, while it is made.
    """
    from stage.audio import playback as playing
    from stage.cli import results
    from stage.generation import request

    choice = dict(guidance=guidance, text_guidance=text_guidance, top_k=top_k, top_p=top_p, temperature=temperature)
    request.check_sampling(**choice)
    ear = playing.choose(out, play, raw, gain, variations)
    files = results.plan(out, song.stem, stem, seed, variations, force, save_grid)
    beats = results.read_grid(grid, start)
    part, rate = results.read_part(song, start, seconds, stream)

    def work(player: Stage, on_progress: Progress) -> Accompaniment:
        asked = dict(
            variations=variations, seed=seed, grid=beats, sampling=player.sampling(**choice), on_progress=on_progress
        )
        if ear:
            return ear.hear(player.stream(part, rate, stem, prompt, **asked, gain_db=gain))
        return player.accompany(part, rate, stem, prompt, **asked)

    results.make(results.Player(model, precision, adapter or []), work, files, force, start, ear)


@app.command()
def click(
    bpm: Annotated[float, typer.Option(help="Tempo in beats a minute, 20 to 400 (in 6/8 it counts dotted quarters).")],
    stem: StemOption,
    meter: Annotated[str, typer.Option(help="Metre, like 4/4, 3/4 or 6/8.")] = "4/4",
    bars: Annotated[int, typer.Option(help="Length in bars.")] = 8,
    prompt: PromptOption = "",
    variations: VariationsOption = 1,
    seed: SeedOption = 0,
    out: FolderOption = None,
    play: PlayOption = False,
    raw: RawOption = False,
    gain: GainOption = None,
    rate: Annotated[
        int | None, typer.Option(help="Sampling rate of the results in Hz; the model's own by default.")
    ] = None,
    guidance: GuidanceOption = None,
    text_guidance: TextOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    temperature: TemperatureOption = None,
    model: ModelOption = "embedded",
    precision: PrecisionOption = "auto",
    adapter: AdapterOption = None,
    force: ForceOption = False,
) -> None:
    """Play a stem to a metronome.

    \b
      stage click --bpm 128 --stem drums
      stage click --bpm 92.5 --meter 3/4 --bars 16 --stem bass --rate 48000
      stage click --bpm 60 --meter 6/8 --stem drums --prompt "sparse, slow ballad"

    The results are named like those of `accompany`; the mix has the clicks under the stem.
    """
    from stage.audio import playback as playing
    from stage.cli import results
    from stage.generation import request

    choice = dict(guidance=guidance, text_guidance=text_guidance, top_k=top_k, top_p=top_p, temperature=temperature)
    request.check_sampling(**choice)
    request.click_seconds(bpm, meter, bars)
    if rate is not None:
        request.check_rate(rate)
    ear = playing.choose(out, play, raw, gain, variations)
    files = results.plan(out, f"click-{bpm:g}-{meter.replace('/', '-')}", stem, seed, variations, force)

    def work(player: Stage, on_progress: Progress) -> Accompaniment:
        asked = dict(
            variations=variations, seed=seed, rate=rate, sampling=player.sampling(**choice), on_progress=on_progress
        )
        if ear:
            return ear.hear(player.stream_click(bpm, stem, meter, bars, prompt, **asked, gain_db=gain))
        return player.click(bpm, stem, meter, bars, prompt, **asked)

    results.make(results.Player(model, precision, adapter or []), work, files, force, ear=ear)


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
