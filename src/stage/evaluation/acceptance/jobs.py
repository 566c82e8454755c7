"""The jobs of `stage acceptance`: each makes one stem, or takes the true one, and measures it.

Tasks (the model's stems permitting):
    click        drums for a metronome
    mix          drums for the rest of a song, as `stage accompany` does it by default
    mix alone    the same without the grid of tracked beats
    bass         bass for the rest of a song, as `stage accompany` does it by default
    prompts      drums for the same metronome, once asked to be sparse and once busy
    codec        log-mel distance of held-out stems and mixes after the codec, beside Opus
    speed        drums for a few metronomes, timed when all the rest is done and nothing runs beside

Controls: *true* is the song's own stem; *wrong* scores a stem, made for one context, against the truth of another of
clearly different tempo (and harmony, for bass); *none* is a stem made without context, scored likewise. A wrong context
thus costs no generation of its own: "made for B, scored against A" is what "given B instead of A" means.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stage.audio.files import write
from stage.evaluation.acceptance.clips import ClickClip, Material, MixClip, Settings
from stage.evaluation.acceptance.score import Analysis
from stage.evaluation.figures.beats import kick_energies
from stage.evaluation.figures.sound import log_mel_distance, opus
from stage.evaluation.jobs import Job

PROMPTS = {"sparse": "sparse, slow ballad drums", "busy": "busy, driving drums"}
OPUS_BITS = 6000


def plan(stage, material: Material, out: Path) -> Iterator[Job]:
    """All jobs of a run but those of its speed, in an order in which every task has some clips early."""
    tasks = [list(task) for task in _tasks(stage, material, Maker(stage, material.settings, out))]
    longest = max(len(task) for task in tasks)
    for index in range(longest):
        for task in tasks:
            # Short tasks are spread over the run.
            if (index * len(task)) // longest != ((index - 1) * len(task)) // longest or index == 0:
                yield task[(index * len(task)) // longest]


def timing(stage, material: Material, out: Path) -> Iterator[Job]:
    """The jobs of a run's speed. They run one after the other, with nothing beside them, once the first of them has run
    without being counted."""
    maker = Maker(stage, material.settings, out)
    if "drums" in stage.stems:
        yield from (maker.timed(clip) for clip in material.timed)


def _tasks(stage, material: Material, maker: Maker) -> Iterator[Iterable[Job]]:
    settings = material.settings
    without = range(max(1, settings.mixes // 3))
    if "drums" in stage.stems:
        yield [maker.click(clip) for clip in material.clicks[: settings.clicks]]
        yield [maker.mix(clip, "mix") for clip in material.drums]
        yield [maker.mix(clip, "mix alone", grid="off") for clip in material.drums]
        yield [maker.true(clip) for clip in material.drums]
        yield [maker.nothing("drums", index) for index in without]
        yield [maker.prompted(clip, name) for clip in material.clicks[: settings.prompts] for name in PROMPTS]
    if "bass" in stage.stems:
        yield [maker.mix(clip, "bass") for clip in material.bass]
        yield [maker.true(clip) for clip in material.bass]
        yield [maker.nothing("bass", index) for index in without]
    coded = material.coded("drums" if "drums" in stage.stems else stage.stems[0])
    yield [maker.coded(clip, part) for clip in coded for part in ("mix", "stem")]


@dataclass
class Maker:
    """Makes the jobs of one model. out: the folder of results, for the examples."""

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
            return {**self._measured(audio, "drums"), "kick": [down, other], "name": clip.name}

        return Job(f"click/{clip.key}", run)

    def mix(self, clip: MixClip, task: str, grid: str | None = None) -> Job:
        def run() -> dict:
            context = clip.context(self.rate)
            audio = self.stage.accompany(context, self.rate, clip.stem, seed=self._seed(clip, 1), grid=grid).stems[0]
            self._keep(task, clip, audio, context)
            return {**self._measured(audio, clip.stem), "name": clip.name}

        return Job(f"{task}/{clip.key}", run)

    def true(self, clip: MixClip) -> Job:
        def run() -> dict:
            audio = clip.target(self.rate)
            down, other = kick_energies(audio, self.rate, clip.truth.grid)
            return {**self._measured(audio, clip.stem), "kick": [down, other], "name": clip.name}

        return Job(f"true {clip.stem}/{clip.key}", run)

    def nothing(self, stem: str, index: int) -> Job:
        def run() -> dict:
            return self._measured(self._generate({}, stem, self.settings.seed * 1000 + 500 + index), stem)

        return Job(f"no context {stem}/{index:03d}", run)

    def prompted(self, clip: ClickClip, prompt: str) -> Job:
        def run() -> dict:
            contexts = {self._click_kind(): clip.context(self.rate)}
            audio = self._generate(contexts, "drums", self._seed(clip, 2), PROMPTS[prompt])
            self._keep(f"prompt {prompt}", clip, audio, contexts[self._click_kind()])
            return {**self._measured(audio, "drums"), "name": clip.name}

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
        """The context that takes a metronome: the grid, if the model has one."""
        return "grid" if "grid" in self.stage.decoder.config.contexts else "mix"

    def _generate(self, contexts: dict[str, np.ndarray], stem: str, seed: int, prompt: str = "") -> np.ndarray:
        return self.stage.generate_audio(contexts, stem, prompt, self.settings.seconds, seeds=[seed])[0]

    def _measured(self, audio: np.ndarray, stem: str) -> dict:
        return {"heard": Analysis.of(audio, self.rate, pitched=stem != "drums").to_json()}

    def _seed(self, clip, task: int) -> int:
        return self.settings.seed * 1000 + task * 1_000_000 + int(clip.key)

    def _keep(self, task: str, clip, audio: np.ndarray, context: np.ndarray) -> None:
        """Write the first clips of a task: the stem alone, and with the context that it was made for."""
        if int(clip.key) >= self.settings.examples:
            return
        folder = self.out / "examples"
        folder.mkdir(exist_ok=True)
        name = f"{task.replace(' ', '-')}-{clip.key}"
        write(folder / f"{name}.flac", audio, self.rate, force=True)
        both = 0.5 * (audio + context[: len(audio)])
        write(folder / f"{name}-with-context.flac", both, self.rate, force=True)


def _device(stage):
    return next(stage.decoder.parameters()).device
