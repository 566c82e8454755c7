"""`stage acceptance`: the table (also as Markdown), a JSON file and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stage.cli.lazy import spelled

QUICK = {"mixes": 12, "clicks": 16, "prompts": 6, "codec": 8, "speed": 3}


@spelled(first=("--data",))
def acceptance(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus with a heldout split (stage corpus).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; one that holds a part of this run goes on.")
    ] = Path("acceptance"),
    model: Annotated[str, typer.Option(help="sketch, a model folder, or an installed name.")] = "sketch",
    mixes: Annotated[int, typer.Option(min=2, help="Mix contexts for each stem.")] = 96,
    clicks: Annotated[int, typer.Option(min=2, help="Metronomes from 100 to 179 BPM.")] = 160,
    prompts: Annotated[int, typer.Option(min=1, help="Metronomes for the two prompts.")] = 32,
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

    Every clip is kept when it is measured: after Ctrl-C the same command goes on where it
    stopped, with any number of workers, and a finished folder shows its table again. The
    figures do not depend on the workers. The speed is measured last, by one process with all
    cores: let nothing else run then.
    """
    from dataclasses import replace

    from rich.console import Console

    from stage.corpus.read import songs
    from stage.evaluation.acceptance.clips import Material, Settings
    from stage.evaluation.acceptance.report import WIDTH, print_report
    from stage.evaluation.acceptance.run import Team, accept
    from stage.files import check_folder
    from stage.pipeline import Stage
    from stage.progress import bar

    settings = Settings(mixes=mixes, clicks=clicks, prompts=prompts, seconds=seconds, seed=seed)
    if quick:
        settings = replace(settings, **QUICK)
    check_folder(out)
    material = Material(tuple(songs(corpus, "heldout")), settings)
    stage = Stage.from_pretrained(model, device=device)
    with bar(keep=True) as shown:
        result, pictures = accept(
            stage,
            material,
            out,
            shown.update,
            Team(workers, corpus, model, device),
        )
    console = Console()
    # A file or a pipe has no width of its own; a narrow terminal wraps rather than lose figures.
    console.width = max(console.width, WIDTH)
    print_report(result, console)
    names = ", ".join(str(path) for path in (out / "results.json", *pictures))
    console.print(f"Written: {names}; examples of stems in {out / 'examples'}", markup=False)
