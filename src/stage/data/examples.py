"""The examples of a fine-tuning, cut from songs as the paper cuts them (arXiv 2504.05690, training protocol)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stage.beats.grid import BeatGrid, click_track
from stage.data.song import Song
from stage.errors import MissingExtra, StageError

TRIES = 64
"""Places looked at for an example in which the target and another stem sound."""


@dataclass(frozen=True)
class Example:
    """One example. kind: "mix", "click" or "none" (dropped). target: float32 [1, N]. context: float32 [1, M], M <= N.
    text: "" where dropped."""

    song: str
    stem: str
    kind: str
    target: np.ndarray
    context: np.ndarray | None
    text: str


@dataclass(frozen=True)
class CutOptions:
    """How examples are cut; the defaults are the paper's.

    stems: target stems, drawn evenly. seconds: length of the target. crop: range of the context's length in seconds,
    uniform; it is as long as the target in a share of `whole_context`. click: share of clicks among the contexts, where
    the song's beats are known; `click_pairs` off leaves them out (the ablation). context_dropout, text_dropout,
    word_dropout: chances. speed: range of the factor, with chance `speed_probability`; pitch: range in whole semitones,
    with `pitch_probability`; both change target and context alike. silence: a stem sounds where its peak is above.
    leave_out: roles that are never in a mix (the paper: vocals and other). tags: genres and moods named in a text, at
    most.
    """

    stems: tuple[str, ...] = ("drums",)
    seconds: float = 10.0
    crop: tuple[float, float] = (5.0, 10.0)
    whole_context: float = 0.05
    click: float = 0.5
    click_pairs: bool = True
    context_dropout: float = 0.1
    text_dropout: float = 0.5
    word_dropout: float = 0.3
    speed: tuple[float, float] = (0.8, 1.2)
    speed_probability: float = 0.5
    pitch: tuple[int, int] = (-4, 4)
    pitch_probability: float = 0.5
    silence: float = 0.01
    leave_out: tuple[str, ...] = ("vocals", "other")
    tags: int = 3

    def __post_init__(self) -> None:
        chances = (
            "whole_context",
            "click",
            "context_dropout",
            "text_dropout",
            "word_dropout",
            "speed_probability",
            "pitch_probability",
        )
        if wrong := [name for name in chances if not 0 <= getattr(self, name) <= 1]:
            raise StageError(f"examples.{wrong[0]} is a chance: choose 0 to 1, not {getattr(self, wrong[0])}")
        if not 0 <= self.silence <= 1:
            raise StageError(f"examples.silence is a peak: choose 0 to 1, not {self.silence:g}")
        if self.tags < 0:
            raise StageError(f"examples.tags is a number of tags, not {self.tags}")
        if not self.stems:
            raise StageError("examples.stems names no stem to play")
        if not 0 < self.seconds <= 600:
            raise StageError(f"examples.seconds is {self.seconds:g}: choose more than 0 and at most 600")
        if not 0 < self.crop[0] <= self.crop[1] <= self.seconds:
            raise StageError(
                f"examples.crop is a range within the target's {self.seconds:g} seconds, not {list(self.crop)}"
            )
        if not 0.5 <= self.speed[0] <= self.speed[1] <= 2:
            raise StageError(f"examples.speed is a range of factors from 0.5 to 2, not {list(self.speed)}")
        if not -12 <= self.pitch[0] <= self.pitch[1] <= 12:
            raise StageError(f"examples.pitch is a range of semitones from -12 to 12, not {list(self.pitch)}")


class Cutter:
    """Cuts example `number` from some songs. It depends on (seed, number) alone, whichever process asks, in whatever
    order."""

    def __init__(self, songs: Sequence[Song], options: CutOptions, seed: int):
        """Raises StageError where no song can give an example."""
        self.options, self.seed = options, seed
        self.songs = {
            stem: [song for song in songs if stem in song.stems and self._others(song, stem)] for stem in options.stems
        }
        self.stems = [stem for stem in options.stems if self.songs[stem]]
        if not self.stems:
            there = ", ".join(sorted({role for song in songs for role in song.stems})) or "none"
            raise StageError(
                f"no song has {' or '.join(options.stems)} and another stem for the context; there are: {there}"
            )
        if (
            options.click_pairs
            and options.click == 1.0
            and all(song.beats is None for group in self.songs.values() for song in group)
        ):
            raise StageError("the examples are all of clicks, and no song has beats: stage prepare finds them")

    def __call__(self, number: int) -> Example:
        """Example `number` >= 0. Raises StageError where a file cannot be read, or where no sounding place was
        found."""
        options, rng = self.options, np.random.default_rng([self.seed, number])
        draws = rng.random(10)
        speed = float(rng.uniform(*options.speed)) if draws[0] < options.speed_probability else 1.0
        pitch = int(rng.integers(options.pitch[0], options.pitch[1] + 1)) if draws[1] < options.pitch_probability else 0
        song, stem, start, count, others = self._place(rng, speed)
        size = round(options.seconds * song.rate)
        clicks = options.click_pairs and draws[2] < options.click and song.beats is not None and len(song.beats) > 1
        crop = (
            size
            if draws[3] < options.whole_context
            else round((options.crop[0] + (options.crop[1] - options.crop[0]) * draws[4]) * song.rate)
        )
        target = self._changed(song.read(stem, start, count), song.rate, speed, pitch, size)
        if draws[5] < options.context_dropout:
            kind, context = "none", None
        elif clicks:
            kind, context = "click", self._clicks(song, start, speed, crop)
        else:
            chosen = [role for role in others if rng.random() < 0.5] or [others[rng.integers(len(others))]]
            kind, context = (
                "mix",
                self._changed(song.read(chosen, start, count), song.rate, speed, pitch, size)[:, :crop],
            )
        text = "" if draws[6] < options.text_dropout else self._text(song, rng)
        return Example(song.id, stem, kind, target, context, text)

    def _others(self, song: Song, stem: str) -> list[str]:
        return [role for role in song.stems if role != stem and role not in self.options.leave_out]

    def _place(self, rng: np.random.Generator, speed: float) -> tuple[Song, str, int, int, list[str]]:
        """(song, target, first sample, samples, other stems that sound) of a place that is usable."""
        for _ in range(TRIES):
            stem = self.stems[rng.integers(len(self.stems))]
            song = self.songs[stem][rng.integers(len(self.songs[stem]))]
            count = round(self.options.seconds * song.rate * speed)
            start = int(rng.integers(max(1, song.samples - count + 1)))
            if not self._sounds(song, stem, start, count):
                continue
            others = [role for role in self._others(song, stem) if self._sounds(song, role, start, count)]
            if others:
                return song, stem, start, count, others
        raise StageError(
            f"{TRIES} places of the songs were looked at, and in none did {' or '.join(self.stems)} and another stem"
            f" sound (peak above {self.options.silence:g})"
        )

    def _sounds(self, song: Song, role: str, start: int, count: int) -> bool:
        if song.sounding is not None and role in song.sounding:  # a prepared song has a map of it
            return bool(song.peak(role, start, count) > self.options.silence)
        return bool(np.abs(song.read(role, start, count)).max(initial=0.0) > self.options.silence)

    @staticmethod
    def _changed(audio: np.ndarray, rate: int, speed: float, pitch: int, size: int) -> np.ndarray:
        """[1, N] faster and higher, float32 [1, size] (Signalsmith Stretch)."""
        if speed != 1.0 or pitch:
            audio = stretch(audio, rate, speed, pitch)
        return np.pad(audio[:, :size], ((0, 0), (0, max(0, size - audio.shape[1])))).astype(np.float32, copy=False)

    @staticmethod
    def _clicks(song: Song, start: int, speed: float, crop: int) -> np.ndarray:
        grid = BeatGrid(song.beats[:, 0], song.beats[:, 1].astype(np.int64)).shift(-start / song.rate)
        seconds = crop / song.rate
        grid = BeatGrid(grid.times / speed, grid.numbers).crop(0.0, seconds)
        return click_track(grid, seconds, song.rate)[None, :crop]

    def _text(self, song: Song, rng: np.random.Generator) -> str:
        """The paper's form, `Genres: a, b. Moods: x.`, with words dropped."""
        parts = [
            (title, names[: self.options.tags])
            for title, names in (("Genres", song.genres), ("Moods", song.moods))
            if names
        ]
        words = " ".join(f"{title}: {', '.join(names)}." for title, names in parts).split()
        return " ".join(word for word, draw in zip(words, rng.random(len(words))) if draw >= self.options.word_dropout)


def stretch(audio: np.ndarray, rate: int, speed: float, semitones: float) -> np.ndarray:
    """Faster by `speed`, higher by `semitones`: float32 [C, N] -> [C, about N / speed] (Signalsmith Stretch)."""
    try:
        import python_stretch
    except ImportError:
        raise MissingExtra("speed and pitch augmentation", "train") from None
    engine = python_stretch.Signalsmith.Stretch()
    engine.preset(audio.shape[0], rate)
    engine.setTransposeSemitones(semitones)
    engine.setTimeFactor(speed)
    return np.asarray(engine.process(np.ascontiguousarray(audio, np.float32)))
