"""`stage acceptance`: play to a model what it does not know, and measure what it answers.

Tasks (the model's stems permitting):
    click        drums for a metronome
    mix          drums for the rest of a song, as `stage accompany` does it by default
    mix alone    the same without the grid of tracked beats
    bass         bass for the rest of a song, as `stage accompany` does it by default
    prompts      drums for the same metronome, once asked to be sparse and once busy
    codec        log-mel distance of held-out stems and mixes after the codec, beside Opus
    speed        drums for a few metronomes on the clock, when all the rest is done and nothing runs beside

Controls: *true* is the song's own stem; *wrong* scores a stem, made for one context, against the truth of another of
clearly different tempo (and harmony, for bass); *none* is a stem made without context, scored likewise. A wrong context
thus costs no generation of its own: "made for B, scored against A" is what "given B instead of A" means.

Everything heard is written to `clips.jsonl` as soon as it is made, so an interrupted run goes on where it stopped.
A `Team` of processes may share the jobs: each asks for the next clip, and this process alone writes down what they
hear. Every clip has its own seed, so it matters neither who makes it nor when.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stage.audio.files import write
from stage.corpus.read import songs
from stage.errors import StageError
from stage.evaluation.acceptance.clips import ClickClip, Material, MixClip, Settings
from stage.evaluation.acceptance.score import Analysis
from stage.evaluation.figures.beats import kick_energies
from stage.evaluation.figures.sound import log_mel_distance, opus
from stage.evaluation.jobs import Job, share

PROMPTS = {"sparse": "sparse, slow ballad drums", "busy": "busy, driving drums"}
OPUS_BITS = 6000


@dataclass(frozen=True)
class Team:
    """How many processes share the jobs, and where each finds the songs and its own copy of the model."""

    workers: int
    corpus: Path
    model: str
    device: str | None = None

    def load(self, settings: Settings, threads: int) -> tuple[object, Material]:
        """The stage, which takes `threads` cores from now on, and what is played to it."""
        import torch

        from stage.pipeline import Stage

        torch.set_num_threads(threads)
        return Stage.from_pretrained(self.model, device=self.device), Material(
            tuple(songs(self.corpus, "heldout")), settings
        )


def run(
    stage,
    material: Material,
    out: str | Path,
    on_progress: Callable[[int, int, str], None] | None = None,
    team: Team | None = None,
) -> dict[str, dict]:
    """Make and measure every clip that is not in `out` yet.

    stage: a `stage.pipeline.Stage`. out: folder for `clips.jsonl`, `run.json` and `examples/`; one that holds a run of
    another model or other settings raises StageError. team: who shares the jobs, all but those of the speed; None is
    this
    process alone. on_progress(done, total, key) is told before each clip, or, by a team, after it.
    Returns the kept rows by key, in the order of the plan.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _claim(
        out,
        {
            "model": fingerprint(stage),
            "settings": asdict(material.settings),
            "songs": [song.id for song in material.songs],
        },
    )
    shared, timed = list(plan(stage, material, out)), list(timing(stage, material, out))
    keys = [job.key for job in (*shared, *timed)]
    rows = _read(out / "clips.jsonl")
    with (out / "clips.jsonl").open("a", encoding="utf-8") as file:

        def keep(key: str, row: dict) -> None:
            rows[key] = row
            file.write(json.dumps({"key": key, **row}) + "\n")
            file.flush()

        def tell(key: str) -> None:
            if on_progress:
                on_progress(len(rows), len(keys), key)

        missing = [job for job in shared if job.key not in rows]
        if team and team.workers > 1 and len(missing) > 1:
            tell(f"starting {team.workers} workers")
            build = partial(_jobs, team, material.settings, out)
            with share(build, [job.key for job in missing], team.workers) as made:
                for key, row in made:
                    keep(key, row)
                    tell(key)
        else:
            for job in missing:
                tell(job.key)
                keep(job.key, job.run())
        missing = [job for job in timed if job.key not in rows]
        for warm_up in missing[:1]:
            tell(warm_up.key)
            warm_up.run()
        for job in missing:
            tell(job.key)
            keep(job.key, job.run())
    tell("")
    return {key: rows[key] for key in keys}


def plan(stage, material: Material, out: Path) -> Iterator[Job]:
    """All jobs of a run but those of its speed, in an order in which every task has some clips early."""
    tasks = [list(task) for task in _tasks(stage, material, Player(stage, material.settings, out))]
    longest = max(len(task) for task in tasks)
    for index in range(longest):
        for task in tasks:
            # Short tasks are spread over the run.
            if (index * len(task)) // longest != ((index - 1) * len(task)) // longest or index == 0:
                yield task[(index * len(task)) // longest]


def timing(stage, material: Material, out: Path) -> Iterator[Job]:
    """The jobs of a run's speed: to be run one after the other, with nothing beside them, the first of them once more
    before."""
    player = Player(stage, material.settings, out)
    if "drums" in stage.stems:
        yield from (player.timed(clip) for clip in material.timed)


def _tasks(stage, material: Material, player: Player) -> Iterator[Iterable[Job]]:
    settings = material.settings
    without = range(max(1, settings.mixes // 3))
    if "drums" in stage.stems:
        yield [player.click(clip) for clip in material.clicks[: settings.clicks]]
        yield [player.mix(clip, "mix") for clip in material.drums]
        yield [player.mix(clip, "mix alone", grid="off") for clip in material.drums]
        yield [player.true(clip) for clip in material.drums]
        yield [player.nothing("drums", index) for index in without]
        yield [player.prompted(clip, name) for clip in material.clicks[: settings.prompts] for name in PROMPTS]
    if "bass" in stage.stems:
        yield [player.mix(clip, "bass") for clip in material.bass]
        yield [player.true(clip) for clip in material.bass]
        yield [player.nothing("bass", index) for index in without]
    coded = material.coded("drums" if "drums" in stage.stems else stage.stems[0])
    yield [player.coded(clip, part) for clip in coded for part in ("mix", "stem")]


@dataclass
class Player:
    """Makes the jobs: each plays one thing to the model (or takes the true stem) and listens to what comes."""

    stage: object
    settings: Settings
    out: Path

    @property
    def rate(self) -> int:
        return self.stage.codec.sample_rate

    def click(self, clip: ClickClip) -> Job:
        def run() -> dict:
            audio = self._generate({self._click_kind(): clip.context(self.rate)}, "drums", self._seed(clip, 0))
            down, other = kick_energies(audio, self.rate, clip.truth.grid)
            self._keep("click", clip, audio, clip.context(self.rate))
            return {**self._hear(audio, "drums"), "kick": [down, other], "name": clip.name}

        return Job(f"click/{clip.key}", run)

    def mix(self, clip: MixClip, task: str, grid: str | None = None) -> Job:
        def run() -> dict:
            context = clip.context(self.rate)
            audio = self.stage.accompany(context, self.rate, clip.stem, seed=self._seed(clip, 1), grid=grid).stems[0]
            self._keep(task, clip, audio, context)
            return {**self._hear(audio, clip.stem), "name": clip.name}

        return Job(f"{task}/{clip.key}", run)

    def true(self, clip: MixClip) -> Job:
        def run() -> dict:
            audio = clip.target(self.rate)
            down, other = kick_energies(audio, self.rate, clip.truth.grid)
            return {**self._hear(audio, clip.stem), "kick": [down, other], "name": clip.name}

        return Job(f"true {clip.stem}/{clip.key}", run)

    def nothing(self, stem: str, index: int) -> Job:
        def run() -> dict:
            return self._hear(self._generate({}, stem, self.settings.seed * 1000 + 500 + index), stem)

        return Job(f"no context {stem}/{index:03d}", run)

    def prompted(self, clip: ClickClip, prompt: str) -> Job:
        def run() -> dict:
            contexts = {self._click_kind(): clip.context(self.rate)}
            audio = self._generate(contexts, "drums", self._seed(clip, 2), PROMPTS[prompt])
            self._keep(f"prompt {prompt}", clip, audio, contexts[self._click_kind()])
            return {**self._hear(audio, "drums"), "name": clip.name}

        return Job(f"prompt {prompt}/{clip.key}", run)

    def coded(self, clip: MixClip, part: str) -> Job:
        def run() -> dict:
            import torch

            name, audio = clip.whole(self.rate) if part == "mix" else clip.one_stem(self.rate, int(clip.key))
            codec = self.stage.codec
            with torch.inference_mode():
                copy = (
                    codec.decode(codec.encode(torch.from_numpy(audio)[None].to(_device(self.stage))))[0].cpu().numpy()
                )
            ours, theirs = (
                log_mel_distance(audio, other, self.rate) for other in (copy, opus(audio, self.rate, OPUS_BITS))
            )
            return {"codec": ours, "opus": theirs, "part": name, "name": clip.name}

        return Job(f"codec {part}/{clip.key}", run)

    def timed(self, clip: ClickClip) -> Job:
        def run() -> dict:
            contexts = {self._click_kind(): clip.context(self.rate)}
            started = time.perf_counter()
            self._generate(contexts, "drums", self._seed(clip, 3))
            return {"took": time.perf_counter() - started, "name": clip.name}

        return Job(f"speed/{clip.key}", run)

    def _click_kind(self) -> str:
        """Metronomes go where the model expects clicks: its grid, if it has one."""
        return "grid" if "grid" in self.stage.decoder.config.contexts else "mix"

    def _generate(self, contexts: dict[str, np.ndarray], stem: str, seed: int, prompt: str = "") -> np.ndarray:
        return self.stage.generate_audio(contexts, stem, prompt, self.settings.seconds, seeds=[seed])[0]

    def _hear(self, audio: np.ndarray, stem: str) -> dict:
        return {"heard": Analysis.of(audio, self.rate, pitched=stem != "drums").to_json()}

    def _seed(self, clip, task: int) -> int:
        return self.settings.seed * 1000 + task * 1_000_000 + int(clip.key)

    def _keep(self, task: str, clip, audio: np.ndarray, context: np.ndarray) -> None:
        """The first clips of a task as files: the stem on its own, and with what it was made for."""
        if int(clip.key) >= self.settings.examples:
            return
        folder = self.out / "examples"
        folder.mkdir(exist_ok=True)
        name = f"{task.replace(' ', '-')}-{clip.key}"
        write(folder / f"{name}.flac", audio, self.rate, force=True)
        both = 0.5 * (audio + context[: len(audio)])
        write(folder / f"{name}-with-context.flac", both, self.rate, force=True)


def _jobs(team: Team, settings: Settings, out: Path, threads: int) -> list[Job]:
    """A worker's own jobs, of the model that it loaded for itself."""
    return list(plan(*team.load(settings, threads), out))


def fingerprint(stage) -> dict:
    """What tells models apart: how it is sampled, and a hash of the weights of decoder, codec and text encoder."""
    digest = hashlib.sha256()
    for part in (stage.decoder, stage.codec, stage.text):
        for name, tensor in sorted(getattr(part, "state_dict", dict)().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return {**vars(stage.config), "weights": digest.hexdigest()[:16]}


def _device(stage):
    return next(stage.decoder.parameters()).device


def _claim(out: Path, identity: dict) -> None:
    """Write down whose results a folder holds, or check that they are the same."""
    path = out / "run.json"
    identity = json.loads(json.dumps(identity))
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != identity:
            raise StageError(
                f"{out} holds the results of another model, corpus or settings: choose another folder or remove it"
            )
    else:
        path.write_text(json.dumps(identity, indent=1), encoding="utf-8")


def _read(path: Path) -> dict[str, dict]:
    """The rows that are there; a last line cut by an interruption is left out and taken off the file."""
    rows: dict[str, dict] = {}
    if not path.exists():
        return rows
    whole = 0
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            rows[row.pop("key")] = row
            whole += len(line)
    with path.open("r+b") as file:
        file.truncate(whole)
    return rows
