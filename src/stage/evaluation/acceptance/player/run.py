"""`stage acceptance` for a player: every take of the plan is made and measured once, then all of them are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stage.corpus.read import CorpusSong, songs
from stage.evaluation import fingerprints, results
from stage.evaluation.acceptance.player.baselines import Library
from stage.evaluation.acceptance.player.clips import PlayerMaterial, Settings
from stage.evaluation.acceptance.player.jobs import BASELINES, plan, timing
from stage.evaluation.acceptance.player.report import Report, report, to_json, to_markdown
from stage.evaluation.acceptance.player.styles import accuracy, train
from stage.evaluation.acceptance.player.takes import Measured
from stage.evaluation.acceptance.run import measured
from stage.evaluation.jobs import Job
from stage.files import lock, write_text


@dataclass(frozen=True)
class Team:
    """How many processes share the jobs, and where each finds what it needs. training: a corpus with a train split."""

    workers: int
    corpus: Path
    model: str
    training: Path | None = None
    grooves: Path | None = None
    device: str | None = None

    def jobs(self, settings: Settings, out: Path, threads: int) -> Sequence[Job]:
        """The jobs of a worker that takes `threads` cores from now on, for the model that it loads for itself."""
        import torch

        from stage.pipeline import Stage

        torch.set_num_threads(threads)
        stage = Stage.from_pretrained(self.model, device=self.device)
        material = PlayerMaterial(tuple(songs(self.corpus, "heldout")), settings, stage.stems, self.grooves)
        return list(plan(stage, material, Library(training_songs(self.training)), out))


def training_songs(corpus: Path | None) -> tuple[CorpusSong, ...]:
    """The training songs of a corpus; none where it has no such split."""
    return tuple(songs(corpus, "train")) if corpus is not None and (corpus / "train").is_dir() else ()


def accept(
    stage: Any,
    material: PlayerMaterial,
    library: Library,
    out: str | Path,
    on_progress: results.Progress | None = None,
    team: Team | None = None,
) -> Report:
    """Measure what is not in `out` yet, and report all of it there: results.json and results.md.

    library: parts of the training songs. Raises StageError where `out` holds the results of another model, other songs
    or settings, or another process works in it.
    """
    out = Path(out)
    with lock(out, "another evaluation"):
        rows = run(stage, material, library, out, on_progress, team)
        if on_progress:
            on_progress(len(rows), len(rows), "figures")
        classifier = train(library.songs, material.settings.seconds) if library.songs else None
        found = accuracy(classifier, material.songs, material.settings.seconds, 1) if classifier else None
        result = report(rows, material, classifier, found)
        write_text(out / "results.json", to_json(result, material.settings, fingerprints.of_stage(stage)))
        write_text(out / "results.md", to_markdown(result))
        return result


def run(
    stage: Any,
    material: PlayerMaterial,
    library: Library,
    out: Path,
    on_progress: results.Progress | None = None,
    team: Team | None = None,
) -> dict[str, dict]:
    """The rows of all jobs by key, in the order of the plan, those made that are missing. `out` must be locked."""
    shared, timed = (list(jobs(stage, material, library, out)) for jobs in (plan, timing))
    build = partial(team.jobs, material.settings, out) if team else None
    about = identity(stage, material, library)
    return measured(out, about, shared, timed, valid, build, team.workers if team else 1, on_progress)


def identity(stage: Any, material: PlayerMaterial, library: Library) -> dict:
    """What a folder of results belongs to: a model, settings, songs with their sound and truth, training songs."""
    return {
        "model": {**fingerprints.of_stage(stage), "events": vars(stage.events)},
        "settings": asdict(material.settings),
        "songs": [song.id for song in material.songs],
        "training": [song.id for song in library.songs],
        "clips": material.fingerprint(),
    }


def valid(row: dict) -> bool:
    """Whether a kept row has everything that is reported of its task."""
    task = row["key"].partition("/")[0].partition(" ")[0]
    try:
        if task in ("speed", "stream"):
            return type(row["took"]) in (int, float)
        if task == "control":
            return row["effect"] is None or type(row["effect"]) in (int, float)
        for name in BASELINES if task == "baselines" else ("take",):
            if task != "baselines" or name in row:
                Measured.from_json(row[name])
        return task not in ("kit", "style") or isinstance(row["asked"], str)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
