"""`stage acceptance`: the table (also as Markdown), a JSON file, and for models of audio codes pictures.

What a model is measured on depends on its target: played events or codes of audio.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.lazy import spelled

QUICK = {"mixes": 12, "clicks": 16, "prompts": 6, "codec": 8, "speed": 3}
QUICK_PLAYER = {"mixes": 8, "clicks": 6, "drummers": 6, "controls": 4, "prompts": 8, "speed": 2}


@spelled(first=("--data",))
def acceptance(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus with a heldout split (stage corpus).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; one that holds a part of this run goes on.")
    ] = Path("acceptance"),
    model: Annotated[str, typer.Option(help="sketch, a model folder, or an installed name.")] = "sketch",
    mixes: Annotated[int | None, typer.Option(min=2, help="Mix contexts for each stem (96; of a player 48).")] = None,
    clicks: Annotated[
        int | None,
        typer.Option(min=2, help="Metronomes from 100 to 179 BPM (160; of a player the clicks of 32 songs)."),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Metronomes for the prompts.")] = 32,
    train: Annotated[
        Path | None,
        typer.Option(
            help="Of a player: a corpus with a train split, for nearest parts and styles; the songs' own by default."
        ),
    ] = None,
    grooves: Annotated[
        Path | None, typer.Option(help="Of a player: the zip of the Groove MIDI Dataset, for human drummers.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=4.0, help="Length of every clip.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Chooses clips and stems.")] = 42,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"A rough look: {QUICK['mixes']} mixes, {QUICK['clicks']} clicks.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share the clips and the cores; each loads the model.")
    ] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the GPU if there is one, by default.")] = None,
) -> None:
    """Check a model against our own targets.

    Is it on the beat, in the chord, and does it follow its context? With controls.

    \b
    stage corpus data --split heldout --songs 100
    stage acceptance data --quick
    stage acceptance data --model runs/model --out runs/acceptance --workers 4
    stage acceptance data --model runs/player --grooves groove-midi.zip --out runs/acceptance

    Every clip is kept when it is measured: after Ctrl-C the same command goes on where it
    stopped, with any number of workers, and a finished folder shows its table again. The
    figures do not depend on the workers. The speed is measured last, by one process with all
    cores: let nothing else run then.
    """
    from stage.errors import StageError
    from stage.files import check_folder
    from stage.pipeline import Stage

    check_folder(out)
    stage = Stage.from_pretrained(model, device=device)
    chosen = {"mixes": mixes, "clicks": clicks, "prompts": prompts, "seconds": seconds, "seed": seed}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if stage.events is not None:
        _player(
            stage, corpus, out, model, {**chosen, **(QUICK_PLAYER if quick else {})}, workers, device, train, grooves
        )
        return
    if train is not None or grooves is not None:
        raise StageError(f'--train and --grooves are for models that play events: leave them out with "{model}"')
    _sketch(stage, corpus, out, model, {**chosen, **(QUICK if quick else {})}, workers, device)


def _sketch(stage, corpus: Path, out: Path, model: str, chosen: dict, workers: int, device: str | None) -> None:
    """A model of audio codes."""
    from stage.corpus.read import songs
    from stage.evaluation.acceptance.clips import Material, Settings
    from stage.evaluation.acceptance.report import WIDTH, print_report
    from stage.evaluation.acceptance.run import Team, accept
    from stage.progress import bar

    material = Material(tuple(songs(corpus, "heldout")), Settings(**chosen))
    with bar(keep=True) as shown:
        result, pictures = accept(stage, material, out, shown.update, Team(workers, corpus, model, device))
    console = _console(WIDTH)
    print_report(result, console)
    names = ", ".join(str(path) for path in (out / "results.json", *pictures))
    console.print(f"Written: {names}; examples of stems in {out / 'examples'}", markup=False)


def _player(
    stage,
    corpus: Path,
    out: Path,
    model: str,
    chosen: dict,
    workers: int,
    device: str | None,
    train: Path | None,
    grooves: Path | None,
) -> None:
    """A model of played events."""
    from stage.corpus.read import songs
    from stage.errors import StageError
    from stage.evaluation.acceptance.player.baselines import Library
    from stage.evaluation.acceptance.player.clips import PlayerMaterial, Settings
    from stage.evaluation.acceptance.player.report import WIDTH, print_report
    from stage.evaluation.acceptance.player.run import Team, accept, training_songs
    from stage.progress import bar

    if train is not None and not (train / "train").is_dir():
        raise StageError(f"{train} has no folder train: build one with `stage corpus {train} --split train`")
    material = PlayerMaterial(tuple(songs(corpus, "heldout")), Settings(**chosen), stage.stems, grooves)
    library = Library(training_songs(train or corpus))
    console = _console(WIDTH)
    with bar(keep=True) as shown:
        team = Team(workers, corpus, model, train or corpus, grooves, device)
        result = accept(stage, material, library, out, shown.update, team)
    print_report(result, console)
    if grooves is None:
        console.print("Not measured: human drummers, which need the Groove MIDI Dataset (--grooves)", markup=False)
    if not library.songs:
        console.print("Not measured: nearest parts and styles, which need training songs (--train)", markup=False)
    console.print(f"Written: {out / 'results.md'}, {out / 'results.json'}; takes in {out / 'examples'}", markup=False)


def _console(width: int):
    """A file or a pipe has no width of its own; a narrow terminal wraps rather than lose figures."""
    from rich.console import Console

    console = Console()
    console.width = max(console.width, width)
    return console
