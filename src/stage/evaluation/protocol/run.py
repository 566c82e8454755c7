"""Makes, keeps and judges every stem of an evaluation; what was judged is never made again.

Conditions of a clip: "model" hears what is right; "no context", "no text" leave that out; "true" is the song's own
stem; each baseline is
another model that hears what is right, each system a folder of somebody else's stems. A wrong context costs nothing of
its own: the stem that was made
for one clip is judged against its partner too, and these figures are kept under "wrong".

OUT/clips.jsonl has a row for each judged stem, OUT/audio/CONDITION/ID.flac the stem.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stage.audio.files import fit, read, write
from stage.data import open_songs
from stage.errors import StageError
from stage.evaluation.truth import Truth
from stage.evaluation.embeddings import clap
from stage.evaluation.figures import harmony
from stage.evaluation.figures.beats import beat_figures, onset_agreement, onset_density, onsets
from stage.evaluation.jobs import Job, share
from stage.evaluation.protocol.clips import Clip, Plan, clips

CONTROLS = ("no context", "no text")
PITCHED = ("bass",)
"""Stems of one voice, whose notes can be told."""
UNPITCHED = ("drums", "percussion")


@dataclass(frozen=True)
class Task:
    """Everything that a worker needs to know. models: condition -> name or folder; "model" is the one that is
    evaluated.

    systems: condition -> folder with ID.wav or ID.flac. adapters are loaded onto "model" alone.
    """

    data: tuple[str, ...]
    plan: Plan
    models: Mapping[str, str]
    systems: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    precision: str = "auto"
    device: str | None = None
    tracker: str = "auto"

    def songs(self) -> list:
        """Of all data sets; an id that two of them share is told apart by a number."""
        from dataclasses import replace

        found: dict[str, Any] = {}
        for place, path in enumerate(self.data):
            for song in open_songs(path):
                name = song.id if song.id not in found else f"{song.id}#{place}"
                found[name] = replace(song, id=name)
        return list(found.values())


class Judge:
    """Listens to stems. tracker: its name, for the table."""

    def __init__(self, task: Task):
        from stage.data.trackers import choose
        from stage.evaluation.coherence import scorers

        self.tracker, self._track = choose(task.tracker)
        if self.tracker == "stage":
            # our own network grew up on our corpus and may not judge models that did too
            from stage.beats.tracker import decode, listen

            self.tracker, self._track = "BeatNet", lambda audio, rate: decode(listen(audio, rate, published_only=True))
        self.scorers, self.clap = scorers(task.device or "cpu"), clap.here()

    def beats(self, audio: np.ndarray, rate: int):
        """The tracked beats of a stem."""
        return self._track(audio, rate)

    def hear(self, audio: np.ndarray, rate: int, clip: Clip, partner: Clip | None) -> dict[str, Any]:
        """Figures of a stem float32 [N] against its clip, and against the partner's under "wrong"."""
        heard = {
            "grid": self.beats(audio, rate),
            "onsets": onsets(audio, rate),
            "density": onset_density(audio, rate),
            "notes": harmony.notes(audio, rate) if clip.stem in PITCHED else None,
        }
        row = self._against(audio, rate, heard, clip, clip.truth, clip.context(rate))
        if self.clap is not None and clip.text:
            row["clap"] = self.clap.score(audio, rate, clip.text)
        if partner is not None:
            row["wrong"] = self._against(audio, rate, heard, clip, partner.truth, partner.context(rate))
        return row

    def _against(
        self, audio: np.ndarray, rate: int, heard: dict, clip: Clip, truth: Truth, context: np.ndarray
    ) -> dict[str, float]:
        row = beat_figures(truth.grid, heard["grid"], clip.seconds) if len(truth.grid) else {}
        row["onset_agreement"] = onset_agreement(truth.grid.times, heard["onsets"]).agreement
        row["density"] = heard["density"]
        if clip.kind == "mix" and clip.stem not in UNPITCHED:
            row["chroma"] = harmony.chroma_agreement(audio, context, rate)
            if heard["notes"] is not None and truth.chords:
                row["in_chord"] = harmony.share_in_chord(heard["notes"], truth.chords)
        if clip.kind == "mix" and clip.seconds >= 5:
            row |= {f"coherence {name}": score(audio, context, rate) for name, score in self.scorers.items()}
        return {name: round(float(value), 5) for name, value in row.items() if np.isfinite(value)}


class Band:
    """The models of a task, each loaded when it first plays."""

    def __init__(self, task: Task):
        self.task, self.loaded = task, {}

    def stage(self, condition: str) -> Any:
        """The Stage of a condition."""
        from stage.pipeline import Stage

        name = condition if condition in self.task.models else "model"
        if name not in self.loaded:
            self.loaded.clear()  # one model at a time is in memory
            self.loaded[name] = Stage.from_pretrained(
                self.task.models[name], device=self.task.device, precision=self.task.precision
            )
            for adapter in self.task.adapters if name == "model" else ():
                self.loaded[name].load_adapter(adapter)
        return self.loaded[name]

    def play(self, condition: str, clip: Clip) -> tuple[np.ndarray, int]:
        """The stem of a condition for a clip: float32 [N], rate. A base without stems (MusicGen itself) hears the text
        alone."""
        stage, rate = self.stage(condition), self.stage(condition).codec.sample_rate
        text, seed = "" if condition == "no text" else clip.text, self.task.plan.seed * 100_003 + clip.number
        if not stage.stems:
            return stage.compose(text or clip.stem, clip.seconds, seed=seed)[0], rate
        if clip.stem not in stage.stems:
            raise StageError(
                f'{self.task.models.get(condition, condition)} plays no "{clip.stem}": it plays'
                f" {', '.join(stage.stems)}"
            )
        if condition == "no context":
            made = stage.generate_audio({}, clip.stem, text, clip.seconds, (seed,))[0]
        elif clip.kind == "click":
            kind = "grid" if "grid" in stage.decoder.config.contexts else stage.decoder.config.contexts[-1]
            made = stage.generate_audio({kind: clip.context(rate)}, clip.stem, text, clip.seconds, (seed,))[0]
        else:
            made = stage.accompany(clip.context(rate), rate, clip.stem, text, seed=seed, level=False).stems[0]
        return made, rate


def jobs(task: Task, out: Path, made: Sequence[Clip], threads: int | None = None) -> list[Job]:
    """Every stem that is to be judged, condition by condition, so that a model is loaded once."""
    if threads:
        import torch

        torch.set_num_threads(threads)
    known, tools = {clip.id: clip for clip in made}, {}

    def listen(condition: str, clip: Clip) -> dict[str, Any]:
        if not tools:
            tools.update(judge=Judge(task), band=Band(task))
        path = out / "audio" / condition.replace(" ", "-") / f"{clip.id}.flac"
        if not path.exists():
            made, rate = _make(condition, clip, tools["band"])
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, np.clip(made, -1, 1)[None], rate)
        audio, rate = read(path)  # what is judged is what is kept
        row = tools["judge"].hear(audio[0], rate, clip, known.get(clip.partner))
        return {
            "condition": condition,
            "clip": clip.id,
            "kind": clip.kind,
            "stem": clip.stem,
            "tracker": tools["judge"].tracker,
            **row,
        }

    def _make(condition: str, clip: Clip, band: Band) -> tuple[np.ndarray, int]:
        if condition == "true":
            rate = clip.song.rate
            return clip.target(rate), rate
        if condition in task.systems:
            return _foreign(Path(task.systems[condition]), clip)
        return band.play(condition, clip)

    return [Job(f"{condition}/{clip.id}", partial(listen, condition, clip)) for condition, clip in _wanted(task, made)]


def _wanted(task: Task, made: Sequence[Clip]) -> list[tuple[str, Clip]]:
    wanted = [("true", clip) for clip in made if clip.kind == "mix"]
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
        if not here:
            raise StageError(
                f"{folder} has no stem for any clip: name the files as --export-contexts does, e.g. {made[0].id}.wav"
            )
        wanted += [(condition, clip) for clip in here]
    return wanted


def _file(folder: Path, clip: Clip) -> Path | None:
    return next((place for end in (".wav", ".flac") if (place := folder / f"{clip.id}{end}").exists()), None)


def _foreign(folder: Path, clip: Clip) -> tuple[np.ndarray, int]:
    audio, rate = read(_file(folder, clip))
    return fit(audio.mean(0), round(clip.seconds * rate)), rate


def run(
    task: Task, out: Path, workers: int = 1, on_job: Callable[[int, int, str], None] | None = None
) -> tuple[list[Clip], list[dict[str, Any]]]:
    """Do what is missing of a task. on_job: told the jobs done, all jobs, and the newest. Returns the clips and all
    rows.

    Raises StageError where `out` holds another evaluation.
    """
    made = clips(task.songs(), task.plan)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, task, made)
    every = jobs(task, out, made)
    rows = _read(out / "clips.jsonl")
    missing = [job for job in every if job.key not in rows]
    with (out / "clips.jsonl").open("a", encoding="utf-8") as file:

        def keep(key: str, row: dict) -> None:
            rows[key] = row
            file.write(json.dumps({"key": key, **row}) + "\n")
            file.flush()
            if on_job:
                on_job(len(rows), len(every), key)

        if workers > 1 and len(missing) > 1:
            with share(partial(_build, task, out), [job.key for job in missing], workers) as answers:
                for key, row in answers:
                    keep(key, row)
        else:
            for job in missing:
                keep(job.key, job.run())
    return made, [rows[job.key] for job in every]


def _build(task: Task, out: Path, threads: int) -> list[Job]:
    return jobs(task, out, clips(task.songs(), task.plan), threads)


def _claim(out: Path, task: Task, made: Sequence[Clip]) -> None:
    about = {
        "task": asdict(task),
        "clips": [[clip.id, clip.song.id if clip.song else "", round(clip.start, 4), clip.bpm] for clip in made],
    }
    about = json.loads(json.dumps(about))
    path = out / "run.json"
    if path.exists():
        known = json.loads(path.read_text())
        # systems and baselines may be added to what was evaluated
        for key in ("models", "systems"):
            about["task"][key] = dict(about["task"][key])
        changed = [
            key
            for key in ("data", "plan", "adapters", "precision", "tracker")
            if known["task"][key] != about["task"][key]
        ]
        changed += [
            f"model {name}"
            for name, place in known["task"]["models"].items()
            if about["task"]["models"].get(name, place) != place
        ]
        if changed or known["clips"] != about["clips"]:
            raise StageError(
                f"{out} holds an evaluation with another {', '.join(changed) or 'choice of songs'}: choose another"
                " --out"
            )
    path.write_text(json.dumps(about, indent=1))


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Rows by key; a last line that was cut off is left out."""
    rows = {}
    if path.exists():
        text = path.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]
            path.write_text(text, encoding="utf-8")
        for line in text.splitlines():
            row = json.loads(line)
            rows[row.pop("key")] = row
    return rows


def export_contexts(task: Task, out: Path, rate: int = 44100) -> int:
    """Write what is played to a model, for systems that are not ours: OUT/ID.wav and OUT/clips.json. Returns how
    many."""
    made = clips(task.songs(), task.plan)
    out.mkdir(parents=True, exist_ok=True)
    for clip in made:
        write(out / f"{clip.id}.wav", clip.context(rate)[None], rate)
    about = [
        {"id": clip.id, "stem": clip.stem, "kind": clip.kind, "text": clip.text, "seconds": clip.seconds}
        for clip in made
    ]
    (out / "clips.json").write_text(json.dumps(about, indent=1))
    return len(made)
