"""The jobs of the player's acceptance: each makes a take, or sounds the true one, and measures it.

Rows (TASK is "mix STEM", "click" or "drummers"; the number is the clip's):
    true TASK        the true part's notes on our sampler
    made TASK        the model's: with the recording as `stage accompany` does it, or with the click alone
    baselines TASK   both baselines, on the tracked grid or the click
    alone mix STEM   drums for the recording without the grid of tracked beats
    genre mix STEM   drums, with the genre (which the baselines are given) as the prompt
    chords mix STEM  pitched stems with the true chords given
    none STEM        a metronome of 120 BPM, the same for all: no context
    control OPTION   the effect of an option
    prompt WORD, kit, style   drums for the same click with other words
    speed STEM, stream        timed when all the rest is done

A wrong context costs no take of its own: "made for B, scored against A" is what "given B instead of A" means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stage.audio.files import fit, to_mono, write
from stage.audio.level import loudness
from stage.beats.find import find
from stage.beats.grid import beats_per_bar, click_track
from stage.chords import Chart, Span, parse
from stage.evaluation.acceptance.player.baselines import Library, Part, fixed, nearest
from stage.evaluation.acceptance.player.clips import PartClip, PlayerMaterial, cut
from stage.evaluation.acceptance.player.controls import CONTROLS, Control
from stage.evaluation.acceptance.player.styles import METER, STYLE_OF, STYLES
from stage.evaluation.acceptance.player.takes import Measured, Take, measure, notes_alone, sounded
from stage.evaluation.figures.parts import effect
from stage.evaluation.jobs import Job
from stage.generation.prepare import STEM_LEVEL
from stage.models.playable import INSTRUMENTS

RATE = 32000
"""Hz of contexts and takes: the corpus' own."""
WRONG = 4
"""Wrong contexts beside the right one, for the coherence."""
NO_CONTEXT_BPM = 120.0
PROMPTS = {"sparse": "sparse, slow ballad drums", "busy": "busy, driving drums"}
BASELINES = ("fixed", "nearest")
SPEED = ("drums", "bass", "keys")


def plan(stage: Any, material: PlayerMaterial, library: Library, out: Path) -> Iterator[Job]:
    """All jobs of a run but those of its speed, in an order in which every task has some clips early."""
    tasks = [list(task) for task in _tasks(Maker(stage, material, library, out))]
    tasks = [task for task in tasks if task]
    places = [
        ((index + 0.5) / len(task), number, job) for number, task in enumerate(tasks) for index, job in enumerate(task)
    ]
    yield from (job for _, _, job in sorted(places, key=lambda place: place[:2]))


def timing(stage: Any, material: PlayerMaterial, library: Library, out: Path) -> Iterator[Job]:
    """The jobs of a run's speed, one after the other with nothing beside them."""
    maker = Maker(stage, material, library, out)
    for stem in SPEED:
        if stem in material.mixes:
            yield from (maker.timed(clip) for clip in material.mixes[stem][: material.settings.speed])
    yield from (maker.streamed(clip) for clip in material.clicks[: material.settings.speed])


def _tasks(maker: Maker) -> Iterator[Iterable[Job]]:
    material, settings = maker.material, maker.material.settings
    for task in material.tasks:
        clips = material.of(task)
        yield [maker.true(task, clip) for clip in clips]
        yield [maker.made(task, clip) for clip in clips]
        yield [maker.baselines(task, clip) for clip in clips]
    for stem, clips in material.mixes.items():
        yield [maker.nothing(stem, index) for index in range(max(1, settings.mixes // 3))]
        if stem == "drums":
            yield [maker.alone(clip) for clip in clips]
            yield [maker.genre(clip) for clip in clips]
        else:
            yield [maker.chords(clip) for clip in clips]
    for name, control in CONTROLS.items():
        if control.stem in material.mixes:
            yield [maker.control(name, control, clip) for clip in material.mixes[control.stem][: settings.controls]]
    if "drums" in material.mixes:
        clips = material.clicks[: settings.prompts]
        yield [maker.prompted(clip, word) for clip in clips for word in PROMPTS]
        yield [maker.kit(clip) for clip in clips]
        yield [maker.style(index) for index in range(settings.prompts)]


@dataclass
class Maker:
    """Makes the jobs of one model. out: the folder of results, for the examples."""

    stage: Any
    material: PlayerMaterial
    library: Library
    out: Path
    warm: set[str] = field(default_factory=set)

    # ------------------------------------------------------------ parts

    def true(self, task: str, clip: PartClip) -> Job:
        def run() -> dict:
            context = self._context(clip)
            level = None if context is None else loudness(context, RATE) + STEM_LEVEL
            take = sounded(clip.notes, clip.stem, clip.instrument, clip.seconds, RATE, self._seed(clip, 0), level)
            self._keep(f"true {task}", clip, take, context)
            return self._row(clip, self._measured(clip, take, context, coherence=True))

        return Job(f"true {task}/{clip.key}", run)

    def made(self, task: str, clip: PartClip) -> Job:
        def run() -> dict:
            take, context = self.play(clip, 1), self._context(clip)
            self._keep(task, clip, take, context)
            return self._row(clip, self._measured(clip, take, context, coherence=True))

        return Job(f"made {task}/{clip.key}", run)

    def baselines(self, task: str, clip: PartClip) -> Job:
        def run() -> dict:
            context = self._context(clip)
            level = None if context is None else loudness(context, RATE) + STEM_LEVEL
            grid = clip.truth.grid if context is None else find(context, RATE).grid
            parts: dict[str, Part | None] = {"fixed": fixed(clip, grid), "nearest": nearest(clip, grid, self.library)}
            found: dict[str, Any] = {"name": clip.name}
            for name, part in parts.items():
                if part is not None:
                    seed = self._seed(clip, 2)
                    take = sounded(part.notes, clip.stem, part.instrument, clip.seconds, RATE, seed, level)
                    self._keep(f"{name} {task}", clip, take, context)
                    found[name] = self._measured(clip, take, context).to_json()
            return found

        return Job(f"baselines {task}/{clip.key}", run)

    def alone(self, clip: PartClip) -> Job:
        def run() -> dict:
            take = self.play(clip, 1, grid="off")
            return self._row(clip, measure(take, clip.stem, far=False))

        return Job(f"alone mix {clip.stem}/{clip.key}", run)

    def genre(self, clip: PartClip) -> Job:
        return self._noted(f"genre mix {clip.stem}", clip, prompt=f"{clip.genre} {clip.stem}")

    def chords(self, clip: PartClip) -> Job:
        return self._noted(f"chords mix {clip.stem}", clip, chords=given_chords(clip))

    def _noted(self, task: str, clip: PartClip, **options: Any) -> Job:
        """A take for the recording of which only the notes count."""
        return Job(f"{task}/{clip.key}", lambda: self._row(clip, notes_alone(self.play(clip, 1, **options))))

    def nothing(self, stem: str, index: int) -> Job:
        def run() -> dict:
            seconds, seed = self.material.settings.seconds, self.material.settings.seed * 1000 + 500 + index
            return {"take": notes_alone(self.click(stem, NO_CONTEXT_BPM, "4/4", seconds, seed)).to_json()}

        return Job(f"none {stem}/{index:03d}", run)

    # ------------------------------------------------------------ options and words

    def control(self, name: str, control: Control, clip: PartClip) -> Job:
        def run() -> dict:
            before, after = (self.play(clip, 3, performance=one) for one in (control.before, control.after))
            grid = after.grid if after.grid is not None and len(after.grid) > 1 else clip.truth.grid
            played = sorted(before.notes), sorted(after.notes)
            value = effect(name, *played, grid, clip.stem, control.after, clip.seconds)
            return {"effect": value if np.isfinite(value) else None, "name": clip.name}

        return Job(f"control {name}/{clip.key}", run)

    def prompted(self, clip: PartClip, word: str) -> Job:
        def run() -> dict:
            take = self.play(clip, 4, prompt=PROMPTS[word])
            return self._row(clip, notes_alone(take))

        return Job(f"prompt {word}/{clip.key}", run)

    def kit(self, clip: PartClip) -> Job:
        kits = list(INSTRUMENTS["drums"])
        asked = kits[int(clip.key) % len(kits)]

        def run() -> dict:
            take = self.play(clip, 5, prompt=f"drums on {kit_words(asked)}")
            return {**self._row(clip, notes_alone(take)), "asked": asked}

        return Job(f"kit/{clip.key}", run)

    def style(self, index: int) -> Job:
        style, settings = list(STYLES)[index % len(STYLES)], self.material.settings

        def run() -> dict:
            from stage.corpus.genres import GENRES

            genre = next(g for g in GENRES if STYLE_OF.get(g.name) == style)
            low, high = genre.tempo
            bpm = round(float(np.random.default_rng([settings.seed, 6, index]).uniform(low, high)))
            seed = settings.seed * 1000 + 6_000_000 + index
            take = self.click("drums", bpm, METER, settings.seconds, seed, prompt=f"{style} drums")
            return {"take": notes_alone(take).to_json(), "asked": style, "bpm": bpm}

        return Job(f"style/{index:03d}", run)

    # ------------------------------------------------------------ speed

    def timed(self, clip: PartClip) -> Job:
        def run() -> dict:
            context = clip.context(RATE)

            def play() -> None:
                self.stage.accompany(context, RATE, clip.stem, seed=self._seed(clip, 7), grid=clip.truth.grid)

            return {"took": self._took(f"speed {clip.stem}", play), "name": clip.name}

        return Job(f"speed {clip.stem}/{clip.key}", run)

    def streamed(self, clip: PartClip) -> Job:
        def run() -> dict:
            def play() -> None:
                stream = self.stage.stream_click(
                    clip.truth.bpm, "drums", clip.meter, clip.whole_bars, seed=self._seed(clip, 8), rate=RATE
                )
                next(chunk for chunk in stream if chunk.shape[-1])

            return {"took": self._took("stream", play), "name": clip.name}

        return Job(f"stream/{clip.key}", run)

    def _took(self, kind: str, play: Callable[[], None]) -> float:
        """Seconds; the first time of each kind it runs once before, so that what is loaded once does not count."""
        if kind not in self.warm:
            self.warm.add(kind)
            play()
        started = time.perf_counter()
        play()
        return time.perf_counter() - started

    # ------------------------------------------------------------ the model

    def play(self, clip: PartClip, task: int, **options: Any) -> Take:
        """What the model plays to a clip: to its recording, else to its click."""
        seed, seconds = self._seed(clip, task), clip.seconds
        if clip.mix is None:
            return self.click(clip.stem, clip.truth.bpm, clip.meter, seconds, seed, **options)
        made = self.stage.accompany(clip.context(RATE), RATE, clip.stem, seed=seed, **options)
        return self._take(made, seconds)

    def click(self, stem: str, bpm: float, meter: str, seconds: float, seed: int, **options: Any) -> Take:
        """What the model plays to a metronome, from its first beat."""
        bars = int(np.ceil(seconds * bpm / 60 / beats_per_bar(meter) - 1e-6))
        made = self.stage.click(bpm, stem, meter, bars, seed=seed, rate=RATE, **options)
        return self._take(made, seconds)

    def _take(self, made: Any, seconds: float) -> Take:
        audio = fit(to_mono(np.atleast_2d(made.stems[0])), round(seconds * RATE))
        return Take(cut(made.notes[0], 0.0, seconds), made.instruments[0], audio, RATE, made.grid)

    # ------------------------------------------------------------ rows

    def _context(self, clip: PartClip) -> np.ndarray | None:
        return None if clip.mix is None else clip.context(RATE)

    def _measured(self, clip: PartClip, take: Take, context: np.ndarray | None, coherence: bool = False) -> Measured:
        wrong = [other.context(RATE) for other in self._wrong(clip)] if coherence and context is not None else ()
        return measure(take, clip.stem, context, wrong, far=context is not None)

    def _wrong(self, clip: PartClip) -> list[PartClip]:
        """Clips of other songs with the same stem."""
        others = [other for other in self.material.mixes[clip.stem] if other.mix.song.id != clip.mix.song.id]
        rng = np.random.default_rng([self.material.settings.seed, 7, int(clip.key)])
        return [others[i] for i in rng.permutation(len(others))[:WRONG]]

    def _row(self, clip: PartClip, measured: Measured) -> dict:
        return {"take": measured.to_json(), "name": clip.name}

    def _seed(self, clip: PartClip, task: int) -> int:
        return self.material.settings.seed * 1000 + task * 1_000_000 + int(clip.key)

    def _keep(self, task: str, clip: PartClip, take: Take, context: np.ndarray | None) -> None:
        """Write the first takes of a task, with what they were made for."""
        if int(clip.key) >= self.material.settings.examples:
            return
        folder = self.out / "examples"
        folder.mkdir(parents=True, exist_ok=True)
        if context is None:
            context = 0.25 * click_track(clip.truth.grid, clip.seconds, RATE)
        mixed = take.audio + context[: len(take.audio)]
        mixed = mixed / max(1.0, float(np.abs(mixed).max()))
        write(folder / f"{task.replace(' ', '-')}-{clip.key}.flac", mixed, RATE, force=True)


def given_chords(clip: PartClip) -> Chart:
    """The true chords of a clip, as a user gives them."""
    spans = [(max(c.start, 0.0), min(c.end, clip.seconds), c.name) for c in clip.chords]
    return Chart(tuple(Span(start, end, parse(name)) for start, end, name in spans if end - start > 0.01))


def kit_words(kit: str) -> str:
    """How the corpus names a kit in its prompts."""
    from stage.corpus.presets import KIT_NAMES

    return KIT_NAMES[INSTRUMENTS["drums"][kit][0]]
