"""`stage evaluate`: the paper's protocols on any songs, with all controls; tables, JSON, CSV, LaTeX and a page to
listen to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

Pairs = Optional[list[str]]


def evaluate(
    model: Annotated[str, typer.Argument(help="embedded, a model folder, or an installed or published name.")],
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            help="Songs with stems: prepared (stage prepare), or any data set that stage data opens. May be repeated.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for everything; one that holds a part of this evaluation goes on."),
    ] = Path("evaluation"),
    stem: Annotated[
        list[str] | None,
        typer.Option("--stem", help="Stem to evaluate; all that the model plays and the songs have, by default."),
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", help="An adapter to load onto the model. May be repeated.")
    ] = None,
    baseline: Annotated[
        Pairs, typer.Option("--baseline", help="NAME=MODEL: another model in the same table. May be repeated.")
    ] = None,
    system: Annotated[
        Pairs,
        typer.Option(
            "--system",
            help="NAME=FOLDER: stems of any other system, as ID.wav (see --export-contexts). May be repeated.",
        ),
    ] = None,
    passes: Annotated[int, typer.Option(min=0, help="Passes over the held-out songs; the paper makes 4.")] = 4,
    songs: Annotated[int, typer.Option(min=1, help="Held-out songs; the paper takes 24.")] = 24,
    clicks: Annotated[int, typer.Option(min=0, help="Metronomes from 100 to 179 BPM; the paper plays 160.")] = 160,
    seconds: Annotated[float, typer.Option(min=2.0, help="Length of every clip.")] = 10.0,
    controls: Annotated[
        int, typer.Option(min=0, help="Clips of each protocol that are made without context, and without text, too.")
    ] = 24,
    keep_vocals: Annotated[
        bool, typer.Option("--keep-vocals", help='Leave vocals and "other" in the mixes; the paper takes them out.')
    ] = False,
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            "--embedding", help="For FAD and KAD: musicnn, codec, encodec, clap, vggish, panns. May be repeated."
        ),
    ] = None,
    tracker: Annotated[
        str,
        typer.Option(help="Judge of beats: beat-this, stage (BeatNet), or auto (Beat This! where it is installed)."),
    ] = "auto",
    quick: Annotated[
        bool, typer.Option("--quick", help="A rough look: one pass over 8 songs, 8 metronomes, 4 controls.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Chooses places, offsets and seeds of the model.")] = 42,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share the work and the cores; each loads the model.")
    ] = 1,
    precision: Annotated[str, typer.Option(help="auto, float32, float16, bf16, int8 or int4.")] = "auto",
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the GPU if there is one, by default.")] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export-contexts", help="Only write what would be played, for other systems, to this folder."),
    ] = None,
) -> None:
    """Judge a model as the paper does: on its beats, its coherence, its quality, with controls and intervals.

    \b
    stage evaluate embedded --data songs --quick
    stage evaluate runs/drums/model --data songs --stem drums --baseline no-click=runs/no-click/model
    stage evaluate embedded --data songs --export-contexts contexts        # let another system play to these
    stage evaluate embedded --data songs --system theirs=their-stems       # and judge it in the same table

    Beside the model stand the true stem, a wrong context, no context and no text. Every stem is kept and judged once:
    after Ctrl-C the same command goes on, with as many workers as you like. OUT/report.html has everything to
    listen to; results.md, results.json, results.csv and results.tex have the tables.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from stage.errors import StageError
    from stage.evaluation.embeddings import load as embeddings
    from stage.evaluation.protocol import page, quality, report
    from stage.evaluation.protocol.clips import Plan
    from stage.evaluation.protocol.run import Task, export_contexts, run
    from stage.pipeline import Stage

    if quick:
        passes, songs, clicks, controls = 1, 8, 8, 4
    task = Task(
        tuple(data),
        Plan((), songs, passes, clicks, seconds, seed, controls, () if keep_vocals else ("vocals", "other")),
        {"model": model} | _pairs(baseline, "--baseline"),
        _pairs(system, "--system"),
        tuple(adapter or ()),
        precision,
        device,
        tracker,
    )
    there = {role for song in task.songs() for role in song.stems}
    if not stem:
        stage = Stage.from_pretrained(model, device=device, precision=precision)
        for one in adapter or ():
            stage.load_adapter(one)
        stem = [name for name in stage.stems if name in there]
    if not stem:
        raise StageError(
            f"the songs have none of the model's stems; they have {', '.join(sorted(there))}: choose one with --stem"
        )
    from dataclasses import replace

    task = replace(task, plan=replace(task.plan, stems=tuple(stem)))
    console = Console(soft_wrap=True, highlight=False)
    if export is not None:
        console.print(
            f"{export_contexts(task, export)} contexts in {export}; name the stems alike, and give their folder to"
            " --system"
        )
        return
    names = embedding or list(embeddings.ALWAYS)
    for name in names:
        embeddings.load(name)  # what is not here is told before the work
    with Progress(
        TextColumn("{task.description:36.36}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        work = bar.add_task("", total=None)
        clips, rows = run(
            task, out, workers, lambda done, total, key: bar.update(work, completed=done, total=total, description=key)
        )
        distances = quality.measure(out, rows, names, lambda name: bar.update(work, description=f"distances: {name}"))
        bar.update(work, description="report")
        lines, judge = report.summary(rows), rows[0]["tracker"]
        tables = report.tables(lines, distances, judge)
        about = {
            "model": model,
            "baselines": _pairs(baseline, ""),
            "systems": _pairs(system, ""),
            "data": data,
            "seed": seed,
            "tracker": judge,
        }
        for name, text in (
            ("results.md", tables + "\n"),
            ("results.json", report.to_json(lines, distances, about)),
            ("results.csv", report.to_csv(lines, distances)),
            ("results.tex", report.latex(lines, distances)),
        ):
            (out / name).write_text(text, encoding="utf-8")
        page.write_page(
            out / "report.html",
            f"{Path(model).name} on {', '.join(Path(path).name for path in data)}",
            tables,
            out,
            clips,
            rows,
        )
    console.print(tables)
    console.print(f"\n{out / 'report.html'}")


def _pairs(given: Pairs, option: str) -> dict[str, str]:
    """NAME=VALUE, ... as a dict. Raises StageError for another form, or a name that is taken."""
    from stage.errors import StageError
    from stage.evaluation.protocol.report import LAST

    found: dict[str, str] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise StageError(f"{option} takes NAME=..., not {pair}")
        if name in (*LAST, "model") or name in found or "/" in name:
            raise StageError(f'{option}: choose another name than "{name}"')
        found[name] = value
    return found
