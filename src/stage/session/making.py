"""From recipes to takes: the same recipe makes the same take, alone or among others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stage.audio.level import limiter_gain
from stage.errors import StageError
from stage.generation.envelope import Envelope, end_fade, envelope, rests
from stage.generation.performance import Performance
from stage.generation.request import Metronome, Recording, Request
from stage.instruments import stems
from stage.models.playable import INSTRUMENTS
from stage.notes import Note
from stage.session import sounds, state
from stage.session.state import Recipe, Take, Time

if TYPE_CHECKING:
    from stage.generation.result import Accompaniment
    from stage.pipeline import Progress, Stage


@dataclass(frozen=True, eq=False)
class Scene:
    """What a session has beside its takes.

    song: float32 [C, N], None for a click. rate: Hz. samples: N. rests: whether stems rest where the mix is silent.
    times: of the book. sound, notes, take: of a take, by its name.
    """

    song: np.ndarray | None
    rate: int
    samples: int
    rests: bool
    times: dict[str, Time]
    sound: Callable[[str], np.ndarray]
    notes: Callable[[str], tuple[Note, ...]]
    take: Callable[[str], Take]

    @property
    def channels(self) -> int:
        """Of the mix: those of the song, two of a click."""
        return 2 if self.song is None else len(self.song)

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    def mix(self, recipe: Recipe) -> np.ndarray | None:
        """What a recipe is played to, float32 [C, N]; None for a click alone."""
        song = self.song if recipe.song else None
        if song is None and not recipe.backing:
            return None
        placed = (sounds.placed(self.sound(b.take), min(2, self.channels), b.gain, b.pan) for b in recipe.backing)
        return sounds.together(song, placed, self.channels, self.samples)


@dataclass(frozen=True, eq=False)
class Made:
    """A take before it is written: audio float32 [C, N] as it will be read, notes (None from a model of audio codes),
    the instrument, the gain in dB of its level, and sentences about it."""

    audio: np.ndarray
    notes: tuple[Note, ...] | None
    instrument: str
    gain: float
    remarks: tuple[str, ...] = ()


def request(stage: Stage, recipe: Recipe, scene: Scene, seeds: Sequence[int]) -> Request:
    """What a recipe asks of the model, with these seeds. A model of audio codes is not given the chords."""
    time, mix = scene.times[recipe.time], scene.mix(recipe)
    if mix is None:
        if time.grid is None:
            raise StageError("there is nothing to play to: the session has neither a song nor beats")
        bpm = float(np.clip(time.grid.bpm, 20, 400))
        source = Metronome(bpm, rate=scene.rate, beats=time.grid, length=scene.seconds)
    else:
        source = Recording(mix, scene.rate)
    return Request(
        recipe.stem,
        source,
        recipe.prompt,
        tuple(seeds),
        grid="off" if time.grid is None else time.grid,
        sampling=dict(recipe.sampling),
        tuning=time.tuning,
        rest=scene.rests,
        chords=None if stage.events is None else time.chart,
        performance=Performance(**recipe.performance),
        form=() if stage.events is None else tuple((section.name, section.bar) for section in time.sections),
    )


def make(
    stage: Stage,
    recipes: Sequence[Recipe],
    scene: Scene,
    on_progress: Progress | None = None,
    on_sound: Callable[[np.ndarray], None] | None = None,
) -> list[Made]:
    """Make takes. recipes: alike in all but their seeds. on_sound: called with chunks float32 [C, n] of a single take
    while it is made, at about the level that it will have; not where a take is changed. Raises StageError for what the
    model cannot do."""
    if recipes[0].parent is not None:
        from stage.session.redo import remake

        return [remake(stage, recipe, scene, on_progress) for recipe in recipes]
    seeds = [recipe.seed for recipe in recipes]
    asked = request(stage, recipes[0], scene, seeds)
    if on_sound is not None and len(seeds) == 1:
        with stage.make_stream(asked, on_progress, gain_db=None) as stream:
            for chunk in stream:
                on_sound(np.atleast_2d(chunk[0]))
            return [_of(stream.finish(), 0)]
    made = stage.make(asked, on_progress)
    return [_of(made, i) for i in range(len(seeds))]


def program(stem: str, instrument: str) -> int:
    """The General MIDI program (of drums: kit) that stands for an instrument."""
    if not instrument:
        return stems.PROGRAMS.get(stem, 0)
    known = INSTRUMENTS.get(stem, {}).get(instrument)
    return known[0] if known else stems.program_of(stem, instrument)


def pieces(take: Take, notes: Sequence[Note], scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    """Each piece of the drums of a take, alone: (name, float32 [C, N]), with its share of the room, the level and the
    limiter's work. Together they are the take, but where its bars were redone: there hits that follow may differ by the
    small differences between equal hits."""
    root, channels = state.root(take.recipe, scene.take), min(2, scene.channels)
    shaped = shape(root, scene)
    factor, seed = np.float32(10 ** (take.gain / 20)), root.seed % 2**32
    given = list(notes), take.instrument, scene.rate, scene.seconds, seed
    whole = stems.sound(given[0], "drums", *given[1:], channels=channels)
    limited = limiter_gain(factor * shaped.apply(whole), scene.rate)
    for piece, alone in stems.pieces(*given, channels=channels):
        yield piece, factor * shaped.apply(alone) * limited


def shape(recipe: Recipe, scene: Scene) -> Envelope:
    """Where a take of a recipe is turned down: rests and its end. recipe: that it began with."""
    mix = scene.mix(recipe)
    if mix is None:
        return Envelope()
    grid = scene.times[recipe.time].grid
    pauses = rests(mix, scene.rate, grid) if scene.rests else []
    return envelope(scene.samples, scene.rate, pauses, end_fade(grid, scene.seconds))


def _of(made: Accompaniment, i: int) -> Made:
    audio = sounds.rounded(np.atleast_2d(made.stems[i]))
    notes, instrument = (made.notes[i], made.instruments[i]) if made.notes else (None, "")
    return Made(audio, notes, instrument, made.gains[i] if made.gains else 0.0, _own(made.remarks, made.seeds, i))


def _own(remarks: Sequence[str], seeds: Sequence[int], i: int) -> tuple[str, ...]:
    """Those of a variation, and of all; not those of a mix with the song alone, which a session does not write."""
    remarks = [remark for remark in remarks if "the mix is turned down" not in remark]
    other = tuple(f"seed {seed}:" for seed in seeds if seed != seeds[i])
    return tuple(remark for remark in remarks if not remark.startswith(other))
