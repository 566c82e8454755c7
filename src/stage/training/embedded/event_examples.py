"""Training examples of played events: a crop of a view on the time line of a grid as a tracker may find it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stage.beats.grid import BeatGrid
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.models import heard
from stage.models.events import TimeLine, codecs
from stage.models.features import BEAT, HEARD, features, measured
from stage.models.heard import Heard
from stage.models.playable import instrument_of
from stage.notes import Note
from stage.prefix import Row, row, trim
from stage.training.embedded.player_recipe import PlayerRecipe
from stage.training.embedded.token_views import tracked
from stage.training.signals import undisturbed

ATTEMPTS = 8
"""Crops that are drawn at most until the target plays in more than 40 % of one."""


@dataclass(frozen=True)
class Batch:
    """A batch of examples.

    sequence: the rows, ready for the decoder, trimmed. target: [B, K, T] int64. features: [B, T, F]. prompts: B texts.
    chord: [B, T, 13] root (12 none, -1 not known) and pitch classes of each frame. seconds: of music in all rows.
    """

    sequence: Row
    target: Tensor
    features: Tensor
    prompts: list[str]
    chord: Tensor
    seconds: float

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("sequence", "target", "features", "chord")}
        return replace(self, **moved)


@dataclass(frozen=True)
class Example:
    """One row. target: [K, T]; mix: codes [K, T] at the target's frames; features: [T, F], those of the mix (heard,
    [T, H]) among them; chord: [T, 13]. stem: its index. seconds: of music."""

    target: Tensor
    mix: Tensor
    features: Tensor
    heard: np.ndarray
    chord: Tensor
    stem: int
    prompt: str
    seconds: float


@dataclass(frozen=True)
class Given:
    """What a batch's examples may be given. mix: of the song; wrong: that of the next row; words: prompts, chords,
    controls; errors: those of a tracker, and frames that are hidden; grid: the beats."""

    mix: bool = True
    wrong: bool = False
    words: bool = True
    errors: bool = True
    grid: bool = True


BARE = Given(words=False, errors=False)
"""The mix and the right grid alone, as in validation."""


class Examples:
    """Draws batches from views; what batch n holds depends on the seed and n alone."""

    def __init__(self, views: list[dict], config: DecoderConfig, recipe: PlayerRecipe, codec_rate: float, seed: int):
        """codec_rate: frames a second of the views' mixes."""
        self.config, self.recipe, self.rate, self.seed = config, recipe, codec_rate, seed
        self.codecs = codecs()
        self.by_stem = {s: [v for v in views if f"notes.{s}" in v and f"mix.{s}" in v] for s in config.stems}

    def check(self) -> None:
        """Raise StageError for a stem of the recipe that no view has."""
        if absent := [s for s, share in self.recipe.batch.stems.items() if share and not self.by_stem[s]]:
            raise StageError(
                f"none of the views has {' or '.join(absent)} and another stem: stage train player-views encodes songs"
                " that have them; batch.stems of the recipe can leave a stem out"
            )

    def batch(
        self,
        number: int,
        given: Given | None = None,
        rows: int | None = None,
        stem: str | None = None,
        beats: int | None = None,
    ) -> Batch:
        """Batch ``number``. given: what its examples have, drawn by the recipe by default; so are stem and length."""
        draws = np.random.default_rng([self.seed, number])
        options = self.recipe.batch
        beats = beats or int(draws.choice(options.beats))
        alone, with_mix = draws.random(2) < (options.alone, options.mix)
        given = given or Given(mix=bool(with_mix and not alone), words=not alone)
        frames = self.frames(beats)
        rows = rows or max(2, int(options.columns / (frames * (2 if given.mix else 1))))
        names = list(options.stems)
        chances = np.array([options.stems[n] for n in names]) / sum(options.stems.values())
        cut = [self._example(draws, stem or str(draws.choice(names, p=chances)), beats, given) for _ in range(rows)]
        laid = []
        for i, example in enumerate(cut):
            mix = cut[(i + 1) % rows].mix if given.wrong else example.mix
            laid.append(row(self.config, [mix if given.mix else None], example.stem, example.target))
        parts = (torch.cat([getattr(r, n) for r in laid]) for n in ("columns", "attend", "positions", "segments"))
        sequence = trim(Row(*parts, laid[0].first, frames))
        sequence = sequence.cut(0, sequence.columns.shape[-1] - self.config.trail)
        if given.errors:
            self._hide(sequence, draws)
        if not given.mix or given.wrong:  # what is measured of the mix is part of it
            for example in cut:
                example.features[:, HEARD:] = 0
            for i, example in enumerate(cut if given.mix else []):
                example.features[:, HEARD:] = torch.from_numpy(cut[(i + 1) % rows].heard)
        target, known, chord = (torch.stack([getattr(e, n) for e in cut]) for n in ("target", "features", "chord"))
        return Batch(sequence, target, known, [e.prompt for e in cut], chord, sum(e.seconds for e in cut))

    def frames(self, beats: int) -> int:
        """Frames of a target of so many beats; without a division, of beats at 120 a minute."""
        return beats * self.recipe.division or max(2, round(beats * 0.5 * self.recipe.frame_rate))

    def _hide(self, sequence: Row, draws: np.random.Generator) -> None:
        """Hide part of some targets, in place: what cannot be copied from the past has to be read from the context."""
        for columns in sequence.columns:
            if draws.random() < self.recipe.batch.hide:
                share, place = 0.2 + 0.6 * draws.random(), draws.random()
                start = sequence.first + 1 + int((1 - share) * place * sequence.frames)
                columns[:, start : start + int(share * sequence.frames)] = self.config.pad

    def _example(self, draws: np.random.Generator, stem: str, beats: int, given: Given) -> Example:
        options = self.recipe.batch
        view, grid, low, high = self._crop(draws, stem, beats)
        generator = torch.Generator().manual_seed(int(draws.integers(2**62)))
        if given.errors and draws.random() >= options.clean_grid:
            grid = found if len((found := tracked(grid, generator, options.tracker)).times) > 1 else grid
        seconds, frames = float(view["meta"]["seconds"]), self.frames(beats)
        without_grid = not given.grid or (given.errors and given.mix and draws.random() < options.no_grid)
        line = self._stand_in(draws, low, frames) if without_grid else self._line(grid, seconds, low, frames)
        mix, measured_mix, semitones = self._mix(draws, view, stem, line, given.errors and given.mix)
        notes, higher = view[f"notes.{stem}"], 0 if stem == "drums" else semitones
        played = [
            Note(a, b, int(p) + higher, int(v)) for a, b, p, v in notes[notes[:, 0] < line.times[-1] + 1].tolist()
        ]
        target = self.codecs[stem].encode(played, line, instrument_of(stem, view["meta"]["stems"][stem]))
        with_chords, with_bars, read = draws.random(3) < (options.chords, options.bars, options.read)
        spans = _transposed(view[f"read.{stem}"] if read and given.mix else view["chords"], semitones)
        chords = [(c[0], c[1], int(c[2]), [p for p in range(12) if c[3 + p]]) for c in spans.tolist()]
        controls = self._controls(draws, view, played, line, grid) if given.words else {}
        known = features(
            line,
            chords if with_chords and given.words and stem != "drums" else None,
            controls,
            bool(with_bars) or not given.errors,
            grid,
            measured_mix[:, 1:],
        )
        if without_grid:
            known[:, :BEAT] = 0
        prompt = self._prompt(draws, view["meta"], stem) if given.words else ""
        label = _chord_labels(line, _transposed(view["chords"], semitones).numpy())
        seconds, own = float(line.times[-1] - line.times[0]), self.config.stems.index(stem)
        return Example(target, mix, known, measured_mix, label, own, prompt, seconds)

    def _mix(
        self, draws: np.random.Generator, view: dict, stem: str, line: TimeLine, varied: bool
    ) -> tuple[Tensor, np.ndarray, int]:
        """The mix at the frames of a line: codes [K, T], what is measured of it [T, 1 + H] (1 for known, and the
        numbers), and semitones by which everything is transposed.

        varied: as in training, so that a song is not known by its codes: some examples have only the coarse ones; some
        have none, and are transposed, as only what is measured can be; and that is somewhat louder, brighter, noisier.
        """
        options, semitones = self.recipe.batch, 0
        middle = (line.times[:-1] + line.times[1:]) / 2
        codes = view[f"mix.{stem}"].long()
        codes = codes[:, np.clip((middle * self.rate).astype(int), 0, codes.shape[1] - 1)]
        found = Heard(*(view[f"{kind}.{stem}"].float().numpy() for kind in ("slow", "fast"))).at(line)
        if varied:
            without, coarse = draws.random(2) < (options.no_codes, options.coarse)
            if without:
                codes, semitones = torch.full_like(codes, self.config.pad), int(draws.integers(-5, 7))
            elif coarse:
                codes[int(draws.integers(1, 5)) :] = self.config.pad
            for low in (0, 12):
                part = np.roll(found[:, low : low + 12], semitones, 1) * np.exp(draws.normal(0, 0.2, 12))
                found[:, low : low + 12] = np.maximum(part + draws.normal(0, 0.06, part.shape), 0)
            bands = (heard.SIZE - 24) // 2
            found[:, 24 : 24 + bands] *= np.exp(draws.normal(0, 0.25, bands))
            found[:, 24 + bands :] += draws.normal(0, 0.2, bands)
        return codes, np.concatenate([np.ones((line.frames, 1), np.float32), found], 1), semitones

    def _crop(self, draws: np.random.Generator, stem: str, beats: int) -> tuple[dict, BeatGrid, float, float]:
        """A view, its beats, and the first and last second of a crop in which the target plays, if one is found."""
        for _ in range(ATTEMPTS):
            view = self.by_stem[stem][int(draws.integers(len(self.by_stem[stem])))]
            times, numbers = view["beats"][:, 0].double().numpy(), view["beats"][:, 1].long().numpy()
            start = int(draws.integers(0, max(1, len(times) - beats)))
            low, high = float(times[start]), float(times[min(start + beats, len(times) - 1)])
            notes = view[f"notes.{stem}"]
            inside = notes[(notes[:, 1] > low) & (notes[:, 0] < high)]
            if len(inside) and float(inside[-1, 0] - inside[0, 0]) > 0.4 * (high - low):
                break
        return view, BeatGrid(times, numbers), low, high

    def _line(self, grid: BeatGrid, seconds: float, low: float, frames: int) -> TimeLine:
        """`frames` frames from the grid's beat that is nearest to `low`; at the song's end the last beat goes on."""
        division = self.recipe.division
        if not division:
            times = low + np.arange(frames + 1) / self.recipe.frame_rate
            return TimeLine(times, np.zeros(frames, np.int64))
        whole = TimeLine.musical(grid, seconds, division)
        at = int(np.argmin(np.abs(whole.times[:-1:division] - low))) * division
        line = whole.cut(at, min(at + frames, whole.frames))
        if not (more := frames - line.frames):
            return line
        step, bar = line.times[-1] - line.times[-2], max(int(whole.numbers.max()), 1)
        numbers = (np.arange(line.frames, frames) // division + line.numbers[0] - 1) % bar + 1
        times = np.append(line.times, line.times[-1] + step * np.arange(1, more + 1))
        return TimeLine(times, np.append(line.numbers, numbers), division)

    def _stand_in(self, draws: np.random.Generator, low: float, frames: int) -> TimeLine:
        """The time line of a song whose beats are not known (`stage.generation.played.time_line`), from a moment near
        `low` on: its own beats begin anywhere in it."""
        step = 1 / self.recipe.frame_rate
        times = max(0.0, low - draws.random()) + np.arange(frames + 1) * step
        return TimeLine(times, np.zeros(frames, np.int64), self.recipe.division)

    def _controls(
        self, draws: np.random.Generator, view: dict, played: list[Note], line: TimeLine, grid: BeatGrid
    ) -> dict[str, np.ndarray]:
        """Controls that are given, see ``stage.models.features.CONTROLS``: of the whole crop or of each bar."""
        density, dynamics, border, by_bar = draws.random(4) < (*[self.recipe.batch.controls] * 3, 0.5)
        known = measured(played, line, bool(by_bar))
        known = {name: known[name] for name, given in (("density", density), ("dynamics", dynamics)) if given}
        if border:
            known["border"] = np.zeros(line.frames, np.float32)
            bar = float(np.median(np.diff(grid.times))) * max(1, int(grid.numbers.max()))
            for start, _, _ in view["meta"]["sections"]:
                first, last = line.place(np.array([start - bar, start])).round().astype(int).clip(0)
                known["border"][first:last] = 1
        return known

    def _prompt(self, draws: np.random.Generator, meta: dict, stem: str) -> str:
        options = self.recipe.text
        first, second, third = draws.random(3)
        if first < options.dropout:
            return ""
        if second < options.tags:  # the paper's form
            text = f"Genres: {meta['genre']}. Moods: {', '.join(meta['moods'][:3])}."
        elif draws.random() < options.short:  # what people type
            text = f"{meta['genre']} {stem}" if third < 0.7 else meta["genre"]
        else:
            own = meta["stem_captions"].get(stem) or meta["captions"]
            pool = own if second < options.stem else meta["captions"]
            text = pool[int(third * len(pool))]
        words = text.split()
        kept = draws.random(len(words)) >= options.word_dropout
        return " ".join(w for w, keep in zip(words, kept) if keep)


class Numbered(Dataset):
    """Batches by number, as a DataLoader asks for them."""

    def __init__(self, examples: Examples):
        self.examples = examples

    def __getitem__(self, number: int) -> Batch:
        return self.examples.batch(number)


def batches(examples: Examples, numbers: Sequence[int], workers: int = 0) -> DataLoader:
    """The batches of these numbers, in order; workers: processes that make them ahead, 0: this one, as they are asked
    for."""
    many = dict(num_workers=workers, prefetch_factor=4, worker_init_fn=undisturbed) if workers else {}
    generator = torch.Generator().manual_seed(0)  # not the one that dropout uses
    return DataLoader(Numbered(examples), batch_size=None, sampler=numbers, generator=generator, **many)


def _transposed(chords: Tensor, semitones: int) -> Tensor:
    """Chords [m, 15] (start, end, root or -1, twelve pitch classes), higher by so many semitones."""
    moved = chords.clone()
    sounding = moved[:, 2] >= 0
    moved[sounding, 2] = (moved[sounding, 2] + semitones) % 12
    moved[:, 3:] = moved[:, 3:].roll(semitones, 1)
    return moved


def _chord_labels(line: TimeLine, chords: np.ndarray) -> Tensor:
    """[T, 13] float32: root (12: no chord, -1: not known) and pitch classes at each frame's middle."""
    labels = torch.zeros(line.frames, 13)
    labels[:, 0] = -1
    middle = (line.times[:-1] + line.times[1:]) / 2
    for chord in chords:
        inside = torch.from_numpy((middle >= chord[0]) & (middle < chord[1]))
        labels[inside, 0] = float(chord[2]) if chord[2] >= 0 else 12.0
        labels[inside, 1:] = torch.from_numpy(chord[3:]).float()
    return labels
