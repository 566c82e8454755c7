"""``stage train``: training from the command line. Every constant is in a recipe file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stage.cli.lazy import PLAIN, Entry, lazy_group

if TYPE_CHECKING:
    from stage.models.spectral import SpectralCodec

COMMANDS = {
    "finetune": Entry("stage.cli.train:finetune", "Fine-tune a model on your stems.", "Your stems", "train"),
    "codec": Entry("stage.cli.train:codec", "The spectral codec, from nothing.", "The shipped models", "train"),
    "views": Entry("stage.cli.train:views", "Cut and encode songs for a decoder.", "The shipped models", "train"),
    "decoder": Entry("stage.cli.train:decoder", "The decoder, from nothing.", "The shipped models", "train"),
    "player-views": Entry(
        "stage.cli.train:player_views", "Encode songs for a player of events.", "The shipped models", "train"
    ),
    "player": Entry("stage.cli.train:player", "A player of events, from nothing.", "The shipped models", "train"),
    "tracker": Entry(
        "stage.cli.train:tracker", "The beat network for songs without drums.", "The shipped models", "train"
    ),
    "chords": Entry("stage.cli.train:chords", "The network for the chords of songs.", "The shipped models", "train"),
    "scorer": Entry("stage.cli.coherence:scorer", "The offline coherence scorer.", "The shipped models", "train"),
}
app = typer.Typer(
    cls=lazy_group(COMMANDS), help="Train from a recipe file: see docs/finetuning.md.", no_args_is_help=True, **PLAIN
)


@app.callback()
def common() -> None:
    """Train from a recipe file."""


Recipe = Annotated[Path, typer.Argument(help="Recipe file (YAML), e.g. recipes/embedded-decoder.yaml.")]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of the run; an interrupted run in it goes on where it stopped.")
]
Minutes = Annotated[float | None, typer.Option(help="Fit the schedule into this many minutes.")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 takes torch's choice.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a value of the recipe: key.sub=value. May be repeated.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
CorpusPath = Annotated[Path, typer.Option("--data", "--corpus", help="Folder that stage corpus made.")]
Splits = Annotated[str, typer.Option(help="Splits, separated by commas.")]
Worker = Annotated[int, typer.Option(help="This process takes every workers-th song, from this one on.")]
Workers = Annotated[int, typer.Option(help="How many such processes run at once.")]
Limit = Annotated[int | None, typer.Option(help="At most this many songs of each split.")]
CodecPath = Annotated[Path, typer.Option("--codec", help="codec.safetensors of a codec run.")]


def _threads(count: int) -> None:
    if count:
        import torch

        torch.set_num_threads(count)


def codec(
    recipe: Recipe,
    corpus: CorpusPath,
    out: Out,
    minutes: Minutes = None,
    threads: Threads = 0,
    device: Device = "cpu",
    changes: Changes = None,
) -> None:
    """Train the spectral codec on the stems and mixes of a corpus."""
    from stage.cli.finetune import resumable
    from stage.training.embedded.codec import train
    from stage.training.embedded.recipe import CodecRecipe
    from stage.training.recipe import read

    _threads(threads)
    with resumable():
        typer.echo(f"weights: {train(read(CodecRecipe, recipe, changes), corpus, out, minutes, device)}")


def views(
    recipe: Recipe,
    corpus: CorpusPath,
    codec: CodecPath,
    out: Out,
    splits: Splits = "heldout,train",
    worker: Worker = 0,
    workers: Workers = 1,
    limit: Limit = None,
    threads: Threads = 0,
    changes: Changes = None,
) -> None:
    """Encode views of the songs to tokens (resumable; run several at once with --worker)."""
    from stage.progress import bar
    from stage.training.embedded.codec import load
    from stage.training.embedded.recipe import DecoderRecipe
    from stage.training.embedded.token_views import prepare
    from stage.training.recipe import read

    _threads(threads)
    settings = read(DecoderRecipe, recipe, changes)
    trained = load(settings.codec, codec)
    with bar() as progress:
        for split in splits.split(","):
            progress.begin(split)
            prepare(settings, corpus, split, out, trained, worker, workers, limit, on_song=progress.update)


PlayerRecipePath = Annotated[Path, typer.Argument(help="Recipe file (YAML), e.g. recipes/player.yaml.")]
ContextCodec = Annotated[
    str, typer.Option("--codec", help="Model whose codec encodes the mixes: sketch, an installed one, or a folder.")
]


def player_views(
    recipe: PlayerRecipePath,
    corpus: CorpusPath,
    out: Out,
    codec: ContextCodec = "sketch",
    splits: Splits = "heldout,train",
    worker: Worker = 0,
    workers: Workers = 1,
    limit: Limit = None,
    threads: Threads = 0,
    changes: Changes = None,
) -> None:
    """Make views of the songs: notes as they are, mixes encoded (resumable; run several at once with --worker)."""
    from stage.progress import bar
    from stage.training.embedded.event_views import prepare
    from stage.training.embedded.player_recipe import PlayerRecipe
    from stage.training.recipe import read

    _threads(threads)
    settings, encoder = read(PlayerRecipe, recipe, changes), _context_codec(codec)
    with bar() as progress:
        for split in splits.split(","):
            progress.begin(split)
            prepare(settings, corpus, split, out, encoder, worker, workers, limit, on_song=progress.update)


def player(
    recipe: PlayerRecipePath,
    views: Annotated[Path, typer.Option(help="Folder that stage train player-views made.")],
    out: Out,
    codec: ContextCodec = "sketch",
    minutes: Minutes = None,
    threads: Threads = 0,
    device: Device = "cpu",
    changes: Changes = None,
    base: Annotated[Path | None, typer.Option(help="state.pt of an earlier run to start from.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the finished model to this new folder.")] = None,
) -> None:
    """Train the player on views of notes, and export the finished model."""
    from stage.cli.finetune import resumable
    from stage.training.embedded.player import finish, train
    from stage.training.embedded.player_recipe import PlayerRecipe
    from stage.training.recipe import read

    _threads(threads)
    with resumable():
        settings, encoder = read(PlayerRecipe, recipe, changes), _context_codec(codec)
        train(settings, views, encoder, out, minutes, device, base)
    if export:
        finish(settings, out, encoder, export)
        typer.echo(f"model: {export}")


def _context_codec(name: str) -> SpectralCodec:
    """The codec of a model, which has to be of the kind whose codes start embeddings."""
    from stage import Stage
    from stage.errors import StageError
    from stage.models.spectral import SpectralCodec

    codec = Stage.from_pretrained(name).codec
    if not isinstance(codec, SpectralCodec):
        raise StageError(f"the codec of {name} is not a spectral one: choose a model with one, as sketch")
    return codec


def tracker(
    recipe: Recipe,
    corpus: CorpusPath,
    out: Out,
    minutes: Minutes = None,
    threads: Threads = 0,
    device: Device = "cpu",
    changes: Changes = None,
    base: Annotated[Path | None, typer.Option(help="beattcn.safetensors of an earlier run to start from.")] = None,
) -> None:
    """Train the beat network for music without drums; the spectra of the songs are computed first."""
    from stage.cli.finetune import resumable
    from stage.training.embedded.recipe import TrackerRecipe
    from stage.training.embedded.tracker import train
    from stage.training.recipe import read

    _threads(threads)
    with resumable():
        typer.echo(f"weights: {train(read(TrackerRecipe, recipe, changes), corpus, out, minutes, device, base)}")


def chords(
    recipe: Recipe,
    corpus: CorpusPath,
    out: Out,
    minutes: Minutes = None,
    threads: Threads = 0,
    device: Device = "cpu",
    changes: Changes = None,
) -> None:
    """Train the network for the chords of songs; its features are computed first."""
    from stage.cli.finetune import resumable
    from stage.training.embedded.chords import train
    from stage.training.embedded.recipe import ChordRecipe
    from stage.training.recipe import read

    _threads(threads)
    with resumable():
        typer.echo(f"weights: {train(read(ChordRecipe, recipe, changes), corpus, out, minutes, device)}")


def decoder(
    recipe: Recipe,
    views: Annotated[Path, typer.Option(help="Folder that stage train views made.")],
    codec: CodecPath,
    out: Out,
    minutes: Minutes = None,
    threads: Threads = 0,
    device: Device = "cpu",
    changes: Changes = None,
    base: Annotated[Path | None, typer.Option(help="state.pt of an earlier run to start from.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the finished model to this new folder.")] = None,
) -> None:
    """Train the decoder on token views, and export the finished model."""
    from stage.cli.finetune import resumable
    from stage.training.embedded.codec import load
    from stage.training.embedded.decoder import finish, train
    from stage.training.embedded.recipe import DecoderRecipe
    from stage.training.recipe import read

    _threads(threads)
    settings = read(DecoderRecipe, recipe, changes)
    trained = load(settings.codec, codec)
    with resumable():
        train(settings, views, trained, out, minutes, base, device)
    if export:
        finish(settings, out, trained, export)
        typer.echo(f"model: {export}")


def finetune(
    recipe: Annotated[Path, typer.Argument(help="Recipe file (YAML), e.g. recipes/drums.yaml.")],
    base: Annotated[str, typer.Option("--base", help="Model to begin with: sketch, an installed one, or a folder.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Songs at the model's rate: what stage prepare made (a folder or a URL), or any data set that it"
            " reads.",
        ),
    ],
    out: Out,
    changes: Changes = None,
    device: Annotated[
        str | None, typer.Option("--device", "--accelerator", help="cpu, cuda, or auto: the GPU if there is one.")
    ] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="GPUs (or CPU processes) on each node.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Nodes, under SLURM or torchrun.")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="auto, ddp: the whole model on each device; fsdp: its weights shared out.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32, bf16 or 16.")] = None,
    cache: Annotated[
        str | None, typer.Option(help="tokens: encode the examples once, before training; none: in every step.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes for each device that cut examples.")] = None,
    threads: Threads = 0,
) -> int:
    """Fine-tune a decoder on stems, as the paper does: all weights, an adapter, or embeddings and attention.

    \b
    stage train finetune recipes/drums.yaml --base musicgen-small --data PREPARED --out runs/drums
    stage train finetune recipes/lora-drums.yaml --base sketch --data PREPARED --out runs/lora

    Ctrl-C or SIGTERM saves and exits; the same command goes on exactly where it was, after a kill from the last
    checkpoint.
    """
    from stage.cli.finetune import watch
    from stage.training.finetune.recipe import read

    _threads(threads)
    given = {
        "engine.accelerator": device,
        "engine.devices": devices,
        "engine.nodes": nodes,
        "engine.strategy": strategy,
        "engine.precision": precision,
        "loader.cache": cache,
        "loader.workers": workers,
    }
    return watch(
        read(recipe, [*(changes or []), *(f"{key}={value}" for key, value in given.items() if value is not None)]),
        base,
        data,
        out,
    )
