"""`stage evaluate`: the paper's protocols on any songs, with all controls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from stage.cli.lazy import spelled

Pairs = Optional[list[str]]


@spelled(first=("--model",))
def evaluate(
    model: Annotated[str, typer.Argument(help="sketch, a model folder, or an installed name.")],
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
            "--embedding",
            help="For FAD and KAD: musicnn, codec, encodec, clap, vggish, panns. The files of the last two are"
            " TorchScript, which is code that runs. May be repeated.",
        ),
    ] = None,
    tracker: Annotated[
        str,
        typer.Option(help="Tracker of beats: beat-this, stage (BeatNet), or auto (Beat This! where it is installed)."),
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
        typer.Option("--export-contexts", help="Only write the contexts, for other systems, to this folder."),
    ] = None,
) -> None:
    """Evaluate a model by the paper's protocols.

    Beats, coherence and quality of its stems, with controls and intervals.

    \b
    stage evaluate sketch --data songs --quick
    stage evaluate runs/drums/model --data songs --stem drums --baseline no-click=runs/no-click/model
    stage evaluate sketch --data songs --export-contexts contexts        # contexts for another system
    stage evaluate sketch --data songs --system theirs=their-stems       # its stems in the same table

    Beside the model stand the true stem, a wrong context, no context and no text. Every stem is kept and measured
    once: after Ctrl-C the same command goes on, with any number of workers. OUT/report.html has everything to
    listen to; results.md, results.json, results.csv and results.tex have the tables. A folder belongs to one model:
    other weights, also under the same name, are refused in it.
    """
    from rich.console import Console

    from stage.evaluation.embeddings.load import ALWAYS
    from stage.evaluation.protocol import evaluate as whole
    from stage.evaluation.protocol.clips import Plan
    from stage.evaluation.protocol.run import export_contexts
    from stage.evaluation.protocol.task import MODEL, Task, pairs
    from stage.progress import bar

    if quick:
        passes, songs, clicks, controls = 1, 8, 8, 4
    left_out = () if keep_vocals else ("vocals", "other")
    task = Task(
        tuple(data),
        Plan(tuple(stem or ()), songs, passes, clicks, seconds, seed, controls, left_out),
        {MODEL: model} | pairs(baseline, "--baseline"),
        pairs(system, "--system"),
        tuple(adapter or ()),
        precision,
        device,
        tracker,
    )
    console = Console(soft_wrap=True, highlight=False)
    if export is not None:
        count = export_contexts(whole.with_stems(task), export)
        console.print(
            f"{count} contexts in {export}; name the stems alike, and give their folder to --system", markup=False
        )
        return
    with bar(keep=True) as shown:
        tables = whole.evaluate(task, out, embedding or ALWAYS, workers, shown.update)
    console.print(tables, markup=False)
    console.print(f"\n{out / 'report.html'}", markup=False)
