"""The form of a recording: where its sections begin, which of them are alike, and how much happens in them.

Sections are stretches of bars that sound alike. Of all ways to cut the bars the cheapest is taken, found by dynamic
programming: a section costs how much its bars differ from each other, and something for itself, more where its length
is unusual (after K. Jensen, "Multiple Scale Music Segmentation Using Rhythm, Timbre, and Harmony", EURASIP Journal on
Advances in Signal Processing, 2007, which looks for the shortest path through the self-similarity of the features).
Sections that sound alike get the same letter.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np

from stage.audio import chroma, filters
from stage.audio.files import resample, to_mono
from stage.audio.level import loudness
from stage.beats.grid import BeatGrid
from stage.errors import StageError
from stage.session import time as timing
from stage.session.state import Section, Time

SONG = "song"
"""The word for a form that is found in the recording."""
RATE, WINDOW, HOP = 16000, 1024, 512
BANDS, LOW, HIGH = 24, 40.0, 7500.0
LEAST = (15.0, 0.03)
"""Standard deviations over a piece, of all bands in dB and of all pitch classes, below which it stays the same: about
half of what composed songs have."""
BARS_LEAST = 4
"""Bars below which a piece is one section."""
LONGEST = 32
"""Bars of a section."""


@dataclass(frozen=True)
class Costs:
    """Of a cut into sections. section: of each one. length: added for 1, 2 or 3 bars, for an odd number, and for one
    that is not a multiple of four. alike: mean distance of bars below which sections have one letter. harmony: weight
    of the pitch classes beside the bands."""

    section: float = 0.5
    length: tuple[float, float, float] = (2.0, 1.0, 0.9)
    alike: float = 0.55
    harmony: float = 0.6


USUAL = Costs()
"""Chosen on composed songs of another split than those that are measured (benchmarks/form.py)."""


def sections(form: str, time: Time, song: np.ndarray | None, rate: int) -> tuple[Section, ...]:
    """The sections that are written ("intro 4, verse 8"), or, for "song", those of the recording [C, N]. Raises
    StageError for what cannot be read or found."""
    if form.strip().lower() != SONG:
        return timing.sections(form, time)
    if song is None:
        raise StageError('without a song no form can be found: write it, like "intro 4, verse 8"')
    return found(song, rate, time.grid)


def found(audio: np.ndarray, rate: int, grid: BeatGrid | None, costs: Costs = USUAL) -> tuple[Section, ...]:
    """The sections of a recording [C, N] whose beats are known: "A", "B", "A" ... with the bars in which they begin.

    The energy of a section is 0.5 for the mean loudness of the piece and changes by 0.1 for each LU, from 0.1 to 0.9;
    there is none where the sections are within 1 LU. Raises StageError where no bars are known.
    """
    if grid is None or len(grid.downbeats) < 2:
        raise StageError("no bars are known here, so no form can be found: give the beats (--grid FILE) or the form")
    edges = bar_edges(grid, audio.shape[-1] / rate)
    bars = features(audio, rate, edges, costs.harmony)
    starts = cut(bars, costs)
    letters = labels(bars, starts, costs.alike)
    levels = [_level(audio, rate, edges[a], edges[b]) for a, b in zip(starts, [*starts[1:], len(bars)])]
    energies = _energies(levels, np.diff([*starts, len(bars)]))
    return tuple(Section(letter, start + 1, energy) for letter, start, energy in zip(letters, starts, energies))


def bar_edges(grid: BeatGrid, seconds: float) -> np.ndarray:
    """float64 [bars + 1]: where bars begin, and where the last ends; a rest of less than half a bar belongs to it."""
    starts = grid.downbeats[grid.downbeats < seconds]
    usual = float(np.median(np.diff(starts))) if len(starts) > 1 else seconds - float(starts[0])
    if len(starts) > 2 and seconds - starts[-1] < usual / 2:
        starts = starts[:-1]
    return np.append(starts, seconds)


def features(audio: np.ndarray, rate: int, edges: np.ndarray, harmony: float = 1.0) -> np.ndarray:
    """float64 [bars, F]: levels of bands and pitch classes of the quarters of each bar, in standard deviations of the
    piece, of unit length on average."""
    mono = to_mono(np.asarray(audio, np.float32))
    classes = chroma.chroma(mono, rate)
    parts = np.concatenate([np.linspace(a, b, 5)[:-1] for a, b in zip(edges[:-1], edges[1:])] + [edges[-1:]])
    seconds = audio.shape[-1] / rate
    made = []
    for rows, weight, least in ((bands(mono, rate), 1.0, LEAST[0]), (classes, harmony, LEAST[1])):
        places = np.clip((parts / seconds * len(rows)).astype(int), 0, len(rows) - 1)
        means = np.stack([rows[a : max(b, a + 1)].mean(0) for a, b in zip(places[:-1], places[1:])])
        means = means - means.mean(0)
        size = np.sqrt(np.square(means).sum(1).mean())
        made.append(weight * means / max(size, least))
    whole = np.concatenate(made, 1)
    return whole.reshape(len(edges) - 1, -1) / 2


def bands(mono: np.ndarray, rate: int) -> np.ndarray:
    """float64 [n, BANDS]: levels in dB of bands of a sound [N] every 32 ms, not below 60 dB under the loudest."""
    frames = filters.frames(resample(mono, rate, RATE), WINDOW, HOP)
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)))
    bank = filters.triangles(filters.mel_edges(BANDS, LOW, HIGH), filters.bin_hz(WINDOW, RATE))
    levels = 10 * np.log10(np.maximum(power @ (bank / bank.sum(0)), 1e-10))
    return np.maximum(levels, levels.max() - 60)


def cut(bars: np.ndarray, costs: Costs = USUAL) -> list[int]:
    """The bars in which sections begin, from 0 on, of features [bars, F]."""
    count = len(bars)
    if count < BARS_LEAST:
        return [0]
    sums = np.concatenate([np.zeros((1, bars.shape[1])), np.cumsum(bars, 0)])
    squares = np.concatenate([[0.0], np.cumsum(np.square(bars).sum(1))])
    best, before = np.full(count + 1, np.inf), np.zeros(count + 1, int)
    best[0] = 0.0
    for end in range(1, count + 1):
        for start in range(max(0, end - LONGEST), end):
            long = end - start
            scatter = squares[end] - squares[start] - np.square(sums[end] - sums[start]).sum() / long
            cost = best[start] + scatter + costs.section + _length(long, costs, end == count)
            if cost < best[end]:
                best[end], before[end] = cost, start
    starts, at = [], count
    while at:
        at = int(before[at])
        starts.append(at)
    return starts[::-1]


def _length(bars: int, costs: Costs, last: bool) -> float:
    """What a section of so many bars costs beside the usual; the last one may be of any length."""
    short, odd, other = costs.length
    if last:
        return 0.0
    return short * (bars < 4) / bars + odd * (bars % 2) + other * (bars % 4 != 0)


def labels(bars: np.ndarray, starts: list[int], alike: float) -> list[str]:
    """A letter for each section; the same for those whose mean distance is below `alike`, the nearest first."""
    ends = [*starts[1:], len(bars)]
    means = [bars[a:b].mean(0) for a, b in zip(starts, ends)]
    groups = [[i] for i in range(len(starts))]
    while len(groups) > 1:
        pairs = [
            (np.mean([np.linalg.norm(means[i] - means[j]) for i in a for j in b]), n, m)
            for n, a in enumerate(groups)
            for m, b in enumerate(groups[:n])
        ]
        distance, n, m = min(pairs)
        if distance > alike:
            break
        groups[m] += groups.pop(n)
    groups.sort(key=min)
    names = {i: n for n, group in enumerate(groups) for i in group}
    return [_letter(names[i]) for i in range(len(starts))]


def _letter(number: int) -> str:
    """A to Z, then A1 to Z1, and so on."""
    rounds, place = divmod(number, 26)
    return string.ascii_uppercase[place] + (str(rounds) if rounds else "")


def _level(audio: np.ndarray, rate: int, start: float, end: float) -> float:
    """LUFS of a stretch."""
    return loudness(audio[..., round(start * rate) : round(end * rate)], rate)


def _energies(levels: list[float], lengths: np.ndarray) -> list[float | None]:
    loud = [level for level in levels if np.isfinite(level)]
    if not loud or max(loud) - min(loud) < 1:
        return [None] * len(levels)
    floor = np.maximum(np.nan_to_num(levels, neginf=-120.0), max(loud) - 12)
    mean = float(np.average(floor, weights=lengths))
    return [round(float(np.clip(0.5 + 0.1 * (level - mean), 0.1, 0.9)), 2) for level in floor]
