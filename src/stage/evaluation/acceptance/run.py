"""`stage acceptance`: every clip of the plan is made and measured once, then all of them are reported.

A `Team` of processes may share the jobs: each takes the next clip, and this process alone writes down the rows. Every
clip has its own seed, so that the figures depend neither on the process nor on the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from stage.corpus.read import songs
from stage.errors import StageError
from stage.evaluation import fingerprints, results
from stage.evaluation.acceptance.clips import Material, Settings
from stage.evaluation.acceptance.jobs import plan, timing
from stage.evaluation.acceptance.pictures import draw
from stage.evaluation.acceptance.report import Report, report, to_json, to_markdown
from stage.evaluation.acceptance.score import Analysis
from stage.evaluation.jobs import Build, Job
from stage.files import lock, write_json, write_text

FIGURES = {"codec": ("codec", "opus"), "speed": ("took",)}
"""Numbers in the rows of a task; the others have an analysis."""


@dataclass(frozen=True)
class Team:
    """How many processes share the jobs, and where each finds the songs and its own copy of the model."""

    workers: int
    corpus: Path
    model: str
    device: str | None = None

    def load(self, settings: Settings, threads: int) -> tuple[object, Material]:
        """The stage, which takes `threads` cores from now on, and the clips."""
        import torch

        from stage.pipeline import Stage

        torch.set_num_threads(threads)
        stage = Stage.from_pretrained(self.model, device=self.device)
        return stage, Material(tuple(songs(self.corpus, "heldout")), settings)


def accept(
    stage, material: Material, out: str | Path, on_progress: results.Progress | None = None, team: Team | None = None
) -> tuple[Report, list[Path]]:
    """`run`, and the reports of it in `out`: results.json, results.md and pictures, whose paths are returned too."""
    out = Path(out)
    with lock(out, "another evaluation"):
        rows = _run(stage, material, out, on_progress, team)
        result = report(rows, material)
        write_text(out / "results.json", to_json(result, material.settings, fingerprints.of_stage(stage)))
        write_text(out / "results.md", to_markdown(result))
        return result, draw(result, rows, material, out)


def run(
    stage, material: Material, out: str | Path, on_progress: results.Progress | None = None, team: Team | None = None
) -> dict[str, dict]:
    """Make and measure every clip that is not in `out` yet.

    stage: a `stage.pipeline.Stage`. out: folder for `clips.jsonl`, `run.json` and `examples/`. team: the processes that
    share the jobs, all but those of the speed; None is this process alone. on_progress(done, total, key) is called
    before each clip, or, with a team, after it.
    Returns the kept rows by key, in the order of the plan. Raises StageError where `out` holds the results of another
    model, other songs or settings, or another process works in it.
    """
    out = Path(out)
    with lock(out, "another evaluation"):
        return _run(stage, material, out, on_progress, team)


def _run(
    stage, material: Material, out: Path, on_progress: results.Progress | None, team: Team | None
) -> dict[str, dict]:
    shared, timed = list(plan(stage, material, out)), list(timing(stage, material, out))
    build = partial(_jobs, team, material.settings, out) if team else None
    return measured(
        out, identity(stage, material), shared, timed, valid, build, team.workers if team else 1, on_progress
    )


def measured(
    out: Path,
    about: dict,
    shared: Sequence[Job],
    timed: Sequence[Job],
    valid: Callable[[dict], bool],
    build: Build | None = None,
    workers: int = 1,
    on_progress: results.Progress | None = None,
) -> dict[str, dict]:
    """The rows of all jobs in a folder that is locked, those made that are missing or not valid.

    about: whose results these are. shared: jobs for `workers` processes, which get them from `build`. timed: jobs that
    follow one after the other; one more before the first of them is not counted. Raises StageError where the folder
    holds results of another kind.
    """
    _claim(out, about)
    rows = results.read_rows(out / results.ROWS, valid)
    with results.opened(out, rows, [job.key for job in (*shared, *timed)], on_progress) as kept:
        kept.make(kept.missing(shared), build, workers)
        missing = kept.missing(timed)
        for warm_up in missing[:1]:
            kept.report(warm_up.key)
            warm_up.run()
        kept.make(missing)
        kept.report("")
        return kept.wanted()


def _jobs(team: Team, settings: Settings, out: Path, threads: int) -> Sequence[Job]:
    """The jobs of a worker, for the model that it loads for itself."""
    return list(plan(*team.load(settings, threads), out))


def identity(stage, material: Material) -> dict:
    """What a folder of results belongs to: a model, settings, and songs with their sound and truth."""
    return {
        "model": fingerprints.of_stage(stage),
        "settings": asdict(material.settings),
        "songs": [song.id for song in material.songs],
        "clips": material.fingerprint(stage.stems),
    }


def _claim(out: Path, about: dict) -> None:
    """Write down whose results a folder holds, or check that they are the same.

    Folders of earlier versions have no fingerprint of the clips and get it here.
    """
    about = results.as_json(about)
    known = results.read_run(out, "acceptance")
    if known is not None:
        changed = [key for key in about if key in known and known[key] != about[key]]
        if changed or not {"model", "settings", "songs"} <= known.keys():
            what = {"clips": "songs that have changed"}.get(changed[0], f"another {changed[0]}") if changed else "part"
            raise StageError(
                f"{out} holds the results of another model, corpus or settings ({what}): choose another --out,"
                " or remove it"
            )
    write_json(out / results.RUN, {"command": "acceptance", **about})


def valid(row: dict) -> bool:
    """Whether a kept row has everything that is reported of its task."""
    task = row["key"].partition("/")[0].partition(" ")[0]
    try:
        if task in FIGURES:
            numbers = all(type(row[name]) in (int, float) for name in FIGURES[task])
            return numbers and (task != "codec" or isinstance(row["part"], str))
        if task in ("click", "true"):
            down, other = row["kick"]
            float(down), float(other)
        Analysis.from_json(row["heard"])
    except (KeyError, TypeError, ValueError):
        return False
    return True
