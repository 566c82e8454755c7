"""Versions of the corpus' songs from which the chord network learns: subsets of stems, treated like real recordings, on
beats as they are and as a tracker mistakes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stage.audio.files import resample
from stage.beats.grid import BeatGrid
from stage.chords import salience
from stage.chords.chart import Chart, Span
from stage.chords.estimation import beats_over
from stage.chords.network import KINDS, features
from stage.chords.symbols import NO_CHORD, Chord, parse
from stage.corpus.read import CorpusSong
from stage.training.embedded.augment import add_noise, add_room, random_eq, uniform
from stage.training.embedded.recipe import ChordData
from stage.training.embedded.voice import voice

SILENT = 12 * len(KINDS)
"""The class of "no chord"."""
CLASSES = SILENT + 1
_INTERVALS = {kind: frozenset((x - parse("C" + kind).root) % 12 for x in parse("C" + kind).classes) for kind in KINDS}


def kind(chord: Chord) -> int:
    """The class of a chord: that of `KINDS` on its root which differs from it in the fewest tones."""
    if chord.root < 0:
        return SILENT
    bass = {chord.bass} - {chord.root} if "/" in chord.name else set()
    tones = frozenset((x - chord.root) % 12 for x in set(chord.classes))
    without = frozenset((x - chord.root) % 12 for x in set(chord.classes) - bass)
    away = [min(len(tones ^ known), len(without ^ known)) for known in _INTERVALS.values()]
    return 12 * int(np.argmin(away)) + chord.root


def chart(song: CorpusSong) -> Chart:
    """The chords of a song's metadata."""
    rows = song.meta["chords"]
    return Chart(tuple(Span(r["start"], r["end"], NO_CHORD if r["root"] is None else parse(r["name"])) for r in rows))


def shares_of(chords: Chart, edges: np.ndarray) -> tuple[Tensor, Tensor]:
    """The two classes that last longest in each beat: int16 [T, 2], and their shares of it: float16 [T, 2]."""
    total = np.zeros((len(edges) - 1, CLASSES), np.float32)
    for span in chords:
        overlap = np.minimum(edges[1:], span.end) - np.maximum(edges[:-1], span.start)
        total[:, kind(span.chord)] += overlap.clip(0)
    total[:, SILENT] += (np.diff(edges) - total.sum(1)).clip(0)
    best = np.argsort(-total, axis=1)[:, :2]
    share = np.take_along_axis(total, best, axis=1)
    return torch.from_numpy(best.astype(np.int16)), torch.from_numpy(share / share.sum(1, keepdims=True)).half()


def mistaken(grid: BeatGrid, seconds: float, options: ChordData, generator: torch.Generator) -> BeatGrid | None:
    """The beats as a tracker gives them: right, moved, of half or double tempo, off the beat, or none."""
    if float(torch.rand(1, generator=generator)) < options.exact:
        return grid
    moved = uniform(generator, -1, 1, len(grid)).double().numpy() * options.jitter
    times = np.maximum.accumulate(grid.times + moved + float(uniform(generator, -2, 2, 1)) * options.jitter)
    times = times[np.append(True, np.diff(times) > 0.05)]
    draw = float(torch.rand(1, generator=generator))
    if draw < 0.15:
        times = times[int(torch.randint(2, (1,), generator=generator)) :: 2]
    elif draw < 0.3:
        times = salience.halves(times)
    elif draw < 0.5:
        times = times + np.median(np.diff(times)) / 2
    elif draw < 0.6:
        return None
    times = times[times < seconds]
    return BeatGrid(times, np.ones(len(times), np.int64)) if len(times) > 1 else None


def sound(song: CorpusSong, options: ChordData, generator: torch.Generator) -> tuple[np.ndarray, bool]:
    """One version of a song, mono float32 [N] at `salience.RATE`; and whether its chords sound."""

    def draw() -> float:
        return float(torch.rand(1, generator=generator))

    kept = [name for name in song.stems if draw() < options.keep] or list(song.stems)
    if "drums" in song.stems and draw() < options.drums_alone:
        kept = ["drums"]
    gains = 2 ** uniform(generator, -1, 1, len(kept))
    audio = sum(float(gain) * song.stem(name) for name, gain in zip(kept, gains))
    mono = torch.from_numpy(resample(np.asarray(audio, np.float32), song.rate, salience.RATE))[None]
    sounds = kept != ["drums"]
    if sounds and draw() < options.voice:
        level = float(mono.square().mean().sqrt() * 2 ** uniform(generator, -1.5, 0.7, 1))
        mono = mono + level * torch.from_numpy(voice(chart(song), mono.shape[-1], salience.RATE, generator))
    mono = random_eq(mono, generator, options.eq_db, salience.RATE)
    if draw() < options.room:
        mono = add_room(mono, generator, salience.RATE)
    peak = mono.abs().max().clamp(min=1e-4)
    mono = 0.8 * mono / peak
    if draw() < options.drive:
        gain = uniform(generator, 2, 8, 1)
        mono = torch.tanh(gain * mono) / gain
    if draw() < options.noise:
        mono = add_noise(mono, generator, -70, -35)
    return mono[0].numpy(), sounds


def view(song: CorpusSong, options: ChordData, generator: torch.Generator) -> dict[str, Tensor]:
    """Features and classes of one version of a song, as `stage.chords.network.features` and `shares_of`."""
    mono, sounds = sound(song, options, generator)
    grid = mistaken(BeatGrid(song.beats, song.numbers), song.seconds, options, generator)
    edges, _, _ = beats_over(grid, song.seconds)
    cents = float(torch.randn(1, generator=generator)) * options.cents
    read = {name: torch.from_numpy(x).half() for name, x in features(salience.beats(mono, cents, edges)).items()}
    classes, shares = shares_of(chart(song) if sounds else Chart(()), edges)
    return read | {"classes": classes, "shares": shares}


def views(song: CorpusSong, options: ChordData, generator: torch.Generator) -> dict[str, Tensor]:
    """All versions of a song: of the version n the tensors of `view` as ``NAME.n``."""
    made = [view(song, options, generator) for _ in range(options.views)]
    return {f"{name}.{index}": tensor for index, one in enumerate(made) for name, tensor in one.items()}
