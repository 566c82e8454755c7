"""The contexts of `stage acceptance`: stretches of held-out songs and metronomes, with the truth about each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stage import fingerprint
from stage.audio.files import resample
from stage.beats.grid import BeatGrid, click_track
from stage.corpus.read import CorpusSong
from stage.errors import StageError
from stage.evaluation.truth import Truth, chords_within, tempo_distance

AUDIBLE = 0.01
"""Peak above which a stretch of a stem is of use, as in the training protocol."""
ATTEMPTS = 20


@dataclass(frozen=True)
class MixClip:
    """A stretch of a song that is to be accompanied by one of its own stems, taken out."""

    key: str
    song: CorpusSong
    stem: str
    start: float
    seconds: float
    fingerprint: str = ""
    """Digest of its sound and its truth."""

    @cached_property
    def truth(self) -> Truth:
        meta = self.song.meta
        chords = chords_within(meta["chords"], self.start, self.seconds)
        grid = BeatGrid(self.song.beats, self.song.numbers).crop(self.start, self.start + self.seconds)
        return Truth(grid, float(meta["tempo"]), chords)

    @property
    def name(self) -> str:
        """For the results: which song, and from where."""
        return f"{self.song.id} from {self.start:.2f} s"

    def context(self, rate: int) -> np.ndarray:
        """The sum of all other stems: float32 [round(seconds * rate)]."""
        others = tuple(stem for stem in self.song.stems if stem != self.stem)
        return resample(self.song.mix(others, self.start, self.seconds), self.song.rate, rate)

    def target(self, rate: int) -> np.ndarray:
        """The song's own stem: float32 [round(seconds * rate)]."""
        return resample(self.song.crop(self.stem, self.start, self.seconds), self.song.rate, rate)

    def whole(self, rate: int) -> tuple[str, np.ndarray]:
        """("mix", all stems together within full scale)."""
        return "mix", np.clip(self.context(rate) + self.target(rate), -1, 1)

    def one_stem(self, rate: int, turn: int) -> tuple[str, np.ndarray]:
        """Name and audio of one of the stems that are audible here, another for each `turn`."""
        audible = [
            stem for stem in self.song.stems if np.abs(self.song.crop(stem, self.start, self.seconds)).max() > AUDIBLE
        ]
        name = audible[turn % len(audible)]
        return name, resample(self.song.crop(name, self.start, self.seconds), self.song.rate, rate)


@dataclass(frozen=True)
class ClickClip:
    """A metronome that is to be accompanied."""

    key: str
    truth: Truth
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.truth.bpm:.0f} BPM from {self.truth.grid.times[0]:.2f} s"

    def context(self, rate: int) -> np.ndarray:
        """The clicks, downbeats accented: float32 [round(seconds * rate)]."""
        return click_track(self.truth.grid, self.seconds, rate)


@dataclass(frozen=True)
class Settings:
    """How much is measured; the results of other settings are never mixed with these."""

    mixes: int = 96
    clicks: int = 160
    prompts: int = 32
    codec: int = 48
    speed: int = 5
    seconds: float = 10.0
    seed: int = 42
    examples: int = 4
    """Stems of each task that are kept as audio."""


@dataclass(frozen=True)
class Material:
    """All clips of an evaluation, each cut once."""

    songs: tuple[CorpusSong, ...]
    settings: Settings

    @cached_property
    def clicks(self) -> list[ClickClip]:
        """For the metronome task and the prompts, whichever needs more."""
        own = self.settings
        return click_clips(max(own.clicks, own.prompts), own.seconds, own.seed)

    @cached_property
    def timed(self) -> list[ClickClip]:
        """For the speed."""
        return click_clips(self.settings.speed, self.settings.seconds, self.settings.seed)

    @cached_property
    def drums(self) -> list[MixClip]:
        return mix_clips(self.songs, "drums", self.settings.mixes, self.settings.seconds, self.settings.seed)

    @cached_property
    def bass(self) -> list[MixClip]:
        return mix_clips(self.songs, "bass", self.settings.mixes, self.settings.seconds, self.settings.seed)

    def coded(self, stem: str) -> list[MixClip]:
        """For the codec: other stretches, in all of which `stem` plays."""
        return mix_clips(
            self.songs, stem, max(1, self.settings.codec // 2), self.settings.seconds, self.settings.seed + 1
        )

    def fingerprint(self, stems: Sequence[str]) -> str:
        """Digest of the sound and the truth of all clips of mixes for these stems."""
        clips = [*(self.drums if "drums" in stems else ()), *(self.bass if "bass" in stems else ())]
        return fingerprint.of_bytes(*(clip.fingerprint.encode() for clip in clips))

    def truths(self, task: str) -> list[Truth]:
        """The truths of the clips of a task, in their order."""
        if task == "click":
            return [clip.truth for clip in self.clicks[: self.settings.clicks]]
        return [clip.truth for clip in (self.bass if task.endswith("bass") else self.drums)]


def mix_clips(songs: Sequence[CorpusSong], stem: str, count: int, seconds: float, seed: int) -> list[MixClip]:
    """Stretches at random places, song after song, until there are `count`.

    A stretch must have at least four beats, and both the stem and the rest must be audible in it. Raises StageError
    when the songs do not give enough.
    """
    usable = [song for song in songs if stem in song.stems and len(song.stems) > 1 and song.seconds >= seconds]
    if not usable:
        raise StageError(
            f'none of the {len(songs)} held-out songs has a stem "{stem}", others beside it, and {seconds:g} seconds'
        )
    order = np.random.default_rng([seed, 0]).permutation(len(usable))
    clips: list[MixClip] = []
    for turn in range(4 * count):
        if len(clips) == count:
            break
        song = usable[order[turn % len(usable)]]
        clip = _place(song, stem, f"{len(clips):03d}", seconds, np.random.default_rng([seed, 1, turn]))
        if clip is not None:
            clips.append(clip)
    if len(clips) < count:
        raise StageError(
            f'only {len(clips)} of {count} clips could be cut: the stem "{stem}" hardly plays in these songs'
        )
    return clips


def _place(song: CorpusSong, stem: str, key: str, seconds: float, rng: np.random.Generator) -> MixClip | None:
    for _ in range(ATTEMPTS):
        clip = MixClip(key, song, stem, float(rng.uniform(0, song.seconds - seconds)), seconds)
        if len(clip.truth.grid) < 4:
            continue
        target, context = clip.target(song.rate), clip.context(song.rate)
        if min(np.abs(target).max(), np.abs(context).max()) > AUDIBLE:
            made = fingerprint.of_bytes(target.tobytes(), context.tobytes(), clip.truth.to_bytes())
            return replace(clip, fingerprint=made)
    return None


def click_clips(count: int, seconds: float, seed: int) -> list[ClickClip]:
    """Metronomes from 100 BPM on, one beat a minute faster each, from 100 again after 179.

    The first downbeat comes at a random moment within 0.3 s; 4/4.
    """
    rng = np.random.default_rng([seed, 2])
    clips = []
    for index in range(count):
        # Fewer clips than tempi: spread over the same range.
        bpm = 100.0 + (index % 80 if count >= 80 else round(index * 79 / max(1, count - 1)))
        grid = BeatGrid.regular(bpm, 4, seconds, start=float(rng.uniform(0, 0.3)))
        clips.append(ClickClip(f"{index:03d}", Truth(grid, bpm), seconds))
    return clips


def harmonic_overlap(first: Truth, second: Truth) -> float:
    """Likeness of the harmony of two stretches, 0 to 1: cosine of the time that each pitch class sounds."""
    weights = np.zeros((2, 12))
    for row, truth in zip(weights, (first, second)):
        for chord in truth.chords:
            for pitch_class in chord.classes:
                row[pitch_class] += chord.end - chord.start
    norms = np.linalg.norm(weights, axis=1)
    return float(weights[0] @ weights[1] / (norms[0] * norms[1])) if norms.all() else 0.0


def wrong_partners(truths: Sequence[Truth], seed: int, harmony: bool = False) -> list[int | None]:
    """For each truth the index of another of clearly different tempo (a tenth of an octave or more).

    With `harmony`, it is one of the less alike half of those in harmony too. None where there is none.
    """
    rng = np.random.default_rng([seed, 3])
    partners: list[int | None] = []
    for index, truth in enumerate(truths):
        others = [i for i, other in enumerate(truths) if i != index and tempo_distance(truth.bpm, other.bpm) >= 0.1]
        if harmony:
            others = _least(others, lambda i: harmonic_overlap(truth, truths[i]))
        partners.append(int(rng.choice(others)) if others else None)
    return partners


def _least(items: list[int], value: Callable[[int], float]) -> list[int]:
    return sorted(items, key=value)[: (len(items) + 1) // 2]
