"""`stage evaluate`, the whole job: the stems, the figures, the distances, and all reports of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stage.errors import StageError
from stage.evaluation import results
from stage.evaluation.embeddings import load as embeddings
from stage.evaluation.protocol import page, quality, report
from stage.evaluation.protocol.models import Models
from stage.evaluation.protocol.run import run_in
from stage.evaluation.protocol.task import MODEL, Task
from stage.files import check_folder, lock, write_text


def with_stems(task: Task) -> Task:
    """The task, with all stems that the model plays and the songs have where it names none.

    Raises StageError where there are none.
    """
    if task.plan.stems:
        return task
    there = {role for song in task.songs() for role in song.stems}
    stems = tuple(name for name in Models(task).stage(MODEL).stems if name in there)
    if not stems:
        raise StageError(
            f"the songs have none of the model's stems; they have {', '.join(sorted(there))}: choose one with --stem"
        )
    return replace(task, plan=replace(task.plan, stems=stems))


def evaluate(
    task: Task,
    out: str | Path,
    names: Sequence[str] = embeddings.ALWAYS,
    workers: int = 1,
    on_progress: results.Progress | None = None,
) -> str:
    """Do a task in a folder of results, and write results.md, .json, .csv and .tex and report.html there.

    names: embeddings for FAD and KAD. workers: processes that share the work. on_progress: see
    `stage.evaluation.results.Progress`. Returns the tables, in Markdown. Raises StageError as `run` does.
    """
    out = Path(out)
    check_folder(out)
    for name in names:
        embeddings.load(name)  # what is not here is reported before the work
    task = with_stems(task)
    with lock(out, "another evaluation"):
        clips, rows = run_in(task, out, workers, on_progress)

        def report_stage(what: str) -> None:
            if on_progress:
                on_progress(len(rows), len(rows), what)

        distances = quality.measure(out, rows, names, lambda name: report_stage(f"distances: {name}"))
        report_stage("report")
        lines, tracker = report.summary(rows), rows[0]["tracker"]
        tables = report.tables(lines, distances, tracker)
        about = {
            "model": task.models[MODEL],
            "baselines": {name: place for name, place in task.models.items() if name != MODEL},
            "systems": dict(task.systems),
            "data": list(task.data),
            "seed": task.plan.seed,
            "tracker": tracker,
        }
        for name, text in (
            ("results.md", tables + "\n"),
            ("results.json", report.to_json(lines, distances, about)),
            ("results.csv", report.to_csv(lines, distances)),
            ("results.tex", report.latex(lines, distances)),
        ):
            write_text(out / name, text)
        title = f"{Path(task.models[MODEL]).name} on {', '.join(Path(path).name for path in task.data)}"
        page.write_page(out / "report.html", title, tables, out, clips, rows)
    return tables
