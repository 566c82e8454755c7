"""Makes, keeps and measures every stem of an evaluation; what is there already is not made again.

Conditions of a clip: "model" gets everything; "no context" and "no text" leave that out; "true" is the song's own
stem; each baseline is another model that gets everything, each system a folder of stems that were made elsewhere. A
wrong context costs no generation: the stem that was made for one clip is measured against its partner too, and these
figures are kept under "wrong".

OUT/clips.jsonl has a row for each stem, OUT/audio/CONDITION/ID.flac the stem, OUT/run.json whose they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stage import fingerprint
from stage.audio.files import fit, read, write
from stage.errors import StageError
from stage.evaluation import fingerprints, results
from stage.evaluation.jobs import Job
from stage.evaluation.protocol.clips import Clip, clips
from stage.evaluation.protocol.measure import Measures
from stage.evaluation.protocol.models import Models
from stage.evaluation.protocol.task import CONTROLS, MODEL, TRUE, Task, audio_path, check_names
from stage.files import check_folder, lock, whole_folder, write_json


class Maker:
    """Makes the stems of a task and measures them. Models and instruments are loaded when first needed."""

    def __init__(self, task: Task, out: Path, made: Sequence[Clip]):
        self.task, self.out, self.clips = task, out, {clip.id: clip for clip in made}
        self._models: Models | None = None
        self._measures: Measures | None = None

    @property
    def measures(self) -> Measures:
        """The instruments."""
        self._measures = self._measures or Measures(self.task)
        return self._measures

    def row(self, condition: str, clip: Clip) -> dict[str, Any]:
        """The row of a stem, which is made where it is not there yet."""
        path = audio_path(self.out, condition, clip.id)
        if not path.exists():
            made, rate = self._make(condition, clip)
            write(path, np.clip(made, -1, 1)[None], rate, force=True)
        audio, rate = read(path)  # what is measured is what is kept
        return {
            "condition": condition,
            "clip": clip.id,
            "kind": clip.kind,
            "stem": clip.stem,
            "tracker": self.measures.tracker,
            "measures": self.measures.fingerprint,
            **self.measures.of(audio[0], rate, clip, self.clips.get(clip.partner)),
        }

    def _make(self, condition: str, clip: Clip) -> tuple[np.ndarray, int]:
        if condition == TRUE:
            return clip.target(clip.song.rate), clip.song.rate
        if condition in self.task.systems:
            audio, rate = read(_file(Path(self.task.systems[condition]), clip))
            return fit(audio.mean(0), round(clip.seconds * rate)), rate
        self._models = self._models or Models(self.task)
        return self._models.play(condition, clip)


def jobs(task: Task, made: Sequence[Clip], maker: Maker) -> list[Job]:
    """Every stem that is to be measured, condition by condition, so that a model is loaded once."""
    return [
        Job(f"{condition}/{clip.id}", partial(maker.row, condition, clip)) for condition, clip in _wanted(task, made)
    ]


def _wanted(task: Task, made: Sequence[Clip]) -> list[tuple[str, Clip]]:
    wanted = [(TRUE, clip) for clip in made if clip.kind == "mix"]
    for condition in task.models:
        wanted += [(condition, clip) for clip in made]
    for condition in CONTROLS:
        counts: dict[tuple[str, str], int] = {}
        for clip in made:
            key = (clip.kind, clip.stem)
            if (condition == "no text" and not clip.text) or counts.get(key, 0) >= task.plan.controls:
                continue
            counts[key] = counts.get(key, 0) + 1
            wanted.append((condition, clip))
    for condition, folder in task.systems.items():
        here = [clip for clip in made if _file(Path(folder), clip)]
        if not here and made:
            raise StageError(
                f"{folder} has no stem for any clip: name the files as --export-contexts does, e.g. {made[0].id}.wav"
            )
        wanted += [(condition, clip) for clip in here]
    return wanted


def _file(folder: Path, clip: Clip) -> Path | None:
    return next((place for end in (".wav", ".flac") if (place := folder / f"{clip.id}{end}").exists()), None)


def run(
    task: Task, out: str | Path, workers: int = 1, on_progress: results.Progress | None = None
) -> tuple[list[Clip], list[dict[str, Any]]]:
    """Do what is missing of a task in a folder of results. Returns the clips, and the rows of this task.

    on_progress: see `stage.evaluation.results.Progress`. Raises StageError where `out` holds another evaluation, or
    another process works in it.
    """
    out = Path(out)
    with lock(out, "another evaluation"):
        return run_in(task, out, workers, on_progress)


def run_in(
    task: Task, out: Path, workers: int = 1, on_progress: results.Progress | None = None
) -> tuple[list[Clip], list[dict[str, Any]]]:
    """`run` in a folder that is locked already."""
    made = clips(task.songs(), task.plan)
    _claim(out, task, made)
    maker = Maker(task, out, made)
    every = jobs(task, made, maker)
    if not every:
        raise StageError("there is nothing to evaluate: --passes and --clicks are both 0")
    rows = results.read_rows(out / results.ROWS, valid)
    # figures of other instruments are not comparable: these stems are measured again
    rows = {key: row for key, row in rows.items() if row["measures"] == maker.measures.fingerprint}
    with results.opened(out, rows, [job.key for job in every], on_progress) as kept:
        kept.make(kept.missing(every), partial(_build, task, out), workers)
        kept.report("")
        return made, list(kept.wanted().values())


def _build(task: Task, out: Path, threads: int) -> list[Job]:
    """The jobs of a worker."""
    import torch

    torch.set_num_threads(threads)
    made = clips(task.songs(), task.plan)
    return jobs(task, made, Maker(task, out, made))


TEXTS = ("key", "condition", "clip", "kind", "stem", "tracker", "measures")


def valid(row: dict[str, Any]) -> bool:
    """Whether a kept row has what the tables need: texts that fit together, and numbers."""
    if not all(isinstance(row.get(name), str) for name in TEXTS) or row["kind"] not in ("mix", "click"):
        return False
    figures = {name: value for name, value in row.items() if name not in (*TEXTS, "wrong")}
    wrong = row.get("wrong", {})
    return (
        row["key"] == f"{row['condition']}/{row['clip']}"
        and row["clip"].startswith(f"{row['kind']}-{row['stem']}-")
        and isinstance(wrong, dict)
        and all(type(value) in (int, float) for value in (*figures.values(), *wrong.values()))
    )


# ---------------------------------------------------------------- whose results a folder holds


def _claim(out: Path, task: Task, made: Sequence[Clip]) -> None:
    """Write down whose results a folder holds, or check that they are those of this task.

    Models and systems may be added, and stay written down when a later run does not name them. Raises StageError where
    a name stands for other weights, other stems or other songs than before.
    """
    about = _identity(task, made)
    known = results.read_run(out, "evaluate")
    if known is not None:
        try:
            about = _joined(out, known, about)
        except StageError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError):
            raise StageError(
                f"{out} was begun by an earlier version, which did not write down the weights that its stems come from:"
                " choose another --out, or remove it"
            ) from None
    write_json(out / results.RUN, about)


def _identity(task: Task, made: Sequence[Clip]) -> dict[str, Any]:
    """What results belong to. models: fingerprint by condition, None where the model is not at hand; systems: of each
    stem by clip; clips: with their partners and fingerprints."""
    models = {
        name: fingerprints.of_model(place, task.adapters if name == MODEL else ())
        for name, place in task.models.items()
    }
    systems = {
        name: {clip.id: fingerprint.of_files(file) for clip in made if (file := _file(Path(place), clip))}
        for name, place in task.systems.items()
    }
    return results.as_json(
        {
            "command": "evaluate",
            "task": asdict(replace(task, models=dict(task.models), systems=dict(task.systems))),
            "fingerprints": {"models": models, "systems": systems},
            "clips": [
                [clip.id, clip.song.id if clip.song else "", round(clip.start, 4), clip.bpm, clip.partner]
                + [clip.fingerprint]
                for clip in made
            ],
        }
    )


def _joined(out: Path, known: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """What a folder belongs to when a task is added to it. Raises StageError where they do not fit together."""
    task, prints = known["task"], known["fingerprints"]
    changed = [key for key in ("plan", "adapters", "precision", "tracker") if task[key] != about["task"][key]]
    for name, place in about["task"]["models"].items():
        if name in task["models"]:
            before, now = prints["models"][name], about["fingerprints"]["models"][name]
            if before != now if before and now else task["models"][name] != place:
                changed.append(f'model as "{name}"' if name != MODEL else "model (or the same, trained on)")
            about["fingerprints"]["models"][name] = now or before
    for name, stems in about["fingerprints"]["systems"].items():
        before = prints["systems"].get(name, {})
        if any(before[clip] != now for clip, now in stems.items() if clip in before):
            changed.append(f'set of stems as "{name}"')
        about["fingerprints"]["systems"][name] = before | stems
    if not changed and [clip[:5] for clip in known["clips"]] != [clip[:5] for clip in about["clips"]]:
        changed.append("choice of songs")
    elif not changed and known["clips"] != about["clips"]:
        changed.append("version of the songs")
    if changed:
        raise StageError(f"{out} holds an evaluation with another {', '.join(changed)}: choose another --out")
    for kind in ("models", "systems"):
        about["task"][kind] = task[kind] | about["task"][kind]
        about["fingerprints"][kind] = prints[kind] | about["fingerprints"][kind]
    check_names([*about["task"]["models"], *about["task"]["systems"]])
    return about


# ---------------------------------------------------------------- for other systems


def export_contexts(task: Task, out: str | Path, rate: int = 44100) -> int:
    """Write the contexts of a task, for systems that are not ours: OUT/ID.wav and OUT/clips.json. Returns how many.

    The folder appears whole or not at all. Raises StageError where it is there already and not empty: it may hold the
    stems of a system, whose files have the same names.
    """
    out = Path(out)
    check_folder(out)
    if out.exists() and any(out.iterdir()):
        raise StageError(f"{out} is not empty: choose a new folder for the contexts")
    made = clips(task.songs(), task.plan)
    with whole_folder(out, force=True) as folder:
        for clip in made:
            write(folder / f"{clip.id}.wav", clip.context(rate)[None], rate)
        about = [
            {"id": clip.id, "stem": clip.stem, "kind": clip.kind, "text": clip.text, "seconds": clip.seconds}
            for clip in made
        ]
        write_json(folder / "clips.json", about)
    return len(made)
