"""`stage acceptance`: the table (also as Markdown), a JSON file and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

QUICK = {"mixes": 12, "clicks": 16, "prompts": 6, "codec": 8, "speed": 3}


def acceptance(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus with a heldout split (stage corpus).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; one that holds a part of this run goes on.")
    ] = Path("evaluation"),
    model: Annotated[str, typer.Option(help="embedded, a checkpoint folder, or a published name.")] = "embedded",
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
    """Measure a model: is it on the beat, in the chord, does it listen? With the controls that say so.

    \b
    stage corpus data --split heldout --songs 100
    stage acceptance data --quick
    stage acceptance data --model runs/model --out runs/evaluation --workers 4

    Every clip is written down when it is measured: after Ctrl-C the same command goes on where it
    stopped, with as many workers as you like, and a finished folder shows its table again. The
    figures do not depend on the workers. The speed is measured last, by one process with all
    cores: let nothing else run then.
    """
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from stage.corpus.read import songs
    from stage.evaluation.acceptance.clips import Material, Settings
    from stage.evaluation.acceptance.pictures import draw
    from stage.evaluation.acceptance.report import WIDTH, print_report, report, to_json, to_markdown
    from stage.evaluation.acceptance.run import Team, fingerprint, run
    from stage.pipeline import Stage

    settings = Settings(mixes=mixes, clicks=clicks, prompts=prompts, seconds=seconds, seed=seed)
    if quick:
        settings = replace(settings, **QUICK)
    material = Material(tuple(songs(corpus, "heldout")), settings)
    stage = Stage.from_pretrained(model, device=device)

    console = Console()
    # A file or a pipe has no width of its own; a narrow terminal wraps rather than lose figures.
    console.width = max(console.width, WIDTH)
    with Progress(
        TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        task = bar.add_task("", total=None)
        team = Team(workers, corpus, model, device)
        rows = run(
            stage,
            material,
            out,
            lambda done, total, key: bar.update(task, completed=done, total=total, description=key),
            team,
        )
    result = report(rows, material)
    (out / "results.json").write_text(to_json(result, settings, fingerprint(stage)), encoding="utf-8")
    (out / "results.md").write_text(to_markdown(result), encoding="utf-8")
    pictures = draw(result, rows, material, out)
    print_report(result, console)
    console.print(
        f"Written: {out / 'results.json'}, "
        + ", ".join(str(path) for path in pictures)
        + f"; stems to hear in {out / 'examples'}"
    )
