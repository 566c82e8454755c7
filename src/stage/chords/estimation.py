"""Chords of a recording on its beats: `estimate` by the sound alone, `of_logits` from what a model reads.

The sound: the notes in each beat (`stage.chords.salience`) are compared with templates (`stage.chords.templates`) and
read by a small network (`stage.chords.network`). The best path through the beats is taken: chords change on downbeats
more easily than elsewhere.
"""

from __future__ import annotations

import numpy as np

from stage.audio import tuning
from stage.audio.files import resample, to_mono
from stage.beats.grid import BeatGrid
from stage.chords import network, salience, templates
from stage.chords import path as paths
from stage.chords.chart import Chart, Span
from stage.chords.played import NAMED
from stage.chords.salience import Beats
from stage.chords.symbols import Chord

QUALITIES = ("", "m", "7", "maj7", "m7")
"""Those that are looked for. With diminished and suspended ones, which are rare, more is mistaken than is found."""
CHANGE = (0.31, 0.47, 0.94)
"""What a new chord costs on a downbeat, in the middle of a bar, and elsewhere: tuned with `NETWORK` on 100 composed
songs that are in no figure, and on music that the corpus' instruments did not play."""
READING = (1.0, 1.5, 3.0)
RARE = 1.5
"""The same in nats, for what a model reads; and what the qualities beside `QUALITIES` cost, among which it is
uncertain."""
NETWORK = 0.1
"""Weight of the network's nats beside the templates' scores."""
KIND_OF = {"m9": "m7", "maj9": "maj7", "9": "7", "6": "", "add9": "", "m6": "m"}
"""Those of the network's kinds that count for a quality that is looked for."""
PLAIN_BEAT = 0.5
"""Seconds that are a beat where there are none."""


def estimate(audio: np.ndarray, rate: int, grid: BeatGrid | None = None, cents: float | None = None) -> Chart:
    """The chords of a recording. audio: float32 [C, N] or [N]; rate in Hz.

    grid: its beats; without it half a second is a beat. cents: its tuning from A = 440 Hz, None to estimate it. See
    docs/chords.md for what is found how often: major and minor triads and three sevenths, without their bass.
    """
    edges, numbers, bar = beats_over(grid, np.shape(audio)[-1] / rate)
    states, scores = fits(audio, rate, edges, cents)
    return _chart(states, scores, costs(numbers, bar), edges)


def fits(audio: np.ndarray, rate: int, edges: np.ndarray, cents: float | None = None) -> tuple[list[Chord], np.ndarray]:
    """(chords [S], how well each fits each beat: float64 [T, S]). edges: [T + 1] seconds of the beats' borders; else as
    `estimate`."""
    mono = resample(to_mono(np.asarray(audio, np.float32)), rate, salience.RATE)
    if cents is None:
        found = tuning.estimate(mono, salience.RATE)
        cents = found.cents if found.confidence >= tuning.SURE else 0.0
    return scored(salience.beats(mono, cents, edges))


def scored(beats: Beats) -> tuple[list[Chord], np.ndarray]:
    """`fits` of the notes in each beat: the templates' scores, and the network's."""
    states = paths.candidates(QUALITIES)
    return states, templates.scores(beats, states) + NETWORK * by_network(network.read(beats))


def by_network(read: np.ndarray) -> np.ndarray:
    """The scores of `QUALITIES` and "no chord" from the log-probabilities of `network.STATES` [T, S], those of other
    kinds added as `KIND_OF` says: float64 [T, 61]."""
    kinds = read[:, :-1].reshape(len(read), len(network.KINDS), 12)
    made = []
    for quality in QUALITIES:
        members = [i for i, kind in enumerate(network.KINDS) if KIND_OF.get(kind, kind) == quality]
        made.append(np.logaddexp.reduce(kinds[:, members], axis=1))
    return np.concatenate([*made, read[:, -1:]], axis=1)


def of_logits(logits: np.ndarray, times: np.ndarray, grid: BeatGrid | None, seconds: float) -> Chart:
    """The chords that a model reads: of every quality, without their bass.

    logits: float [T, 25] of frames, 12 roots and "no chord" (one of them holds), then 12 pitch classes (each holds or
        not). times: [T + 1] seconds of the frames' borders. grid: beats, as in `estimate`. seconds: of the recording.
    """
    logits = np.asarray(logits, np.float64)
    edges, numbers, bar = beats_over(grid, seconds)
    roots = logits[:, :13] - np.logaddexp.reduce(logits[:, :13], axis=1, keepdims=True)
    on, off = -np.logaddexp(0, -logits[:, 13:]), -np.logaddexp(0, logits[:, 13:])
    states = paths.candidates(NAMED)
    masks = paths.masks(states)
    scores = roots[:, [chord.root if chord.root >= 0 else 12 for chord in states]] + on @ masks.T + off @ (1 - masks).T
    scores[:, :-1] -= RARE * np.repeat([name not in QUALITIES for name in NAMED], 12)
    middle = (np.asarray(times)[1:] + np.asarray(times)[:-1]) / 2
    scores = np.stack([scores[inside].mean(0) for inside in salience.inside(middle, edges)])
    return _chart(states, scores, costs(numbers, bar, READING), edges)


def beats_over(grid: BeatGrid | None, seconds: float) -> tuple[np.ndarray, np.ndarray, int]:
    """(edges [n + 1] of beats from 0 to `seconds`, their numbers [n], beats a bar); the grid goes on beyond its ends.

    Without two beats the numbers are 0, and so is the bar.
    """
    if grid is None or len(grid) < 2:
        count = max(1, round(seconds / PLAIN_BEAT))
        return np.linspace(0.0, seconds, count + 1), np.zeros(count, np.int64), 0
    first, last, bar = *(np.diff(grid.times)[[0, -1]]), max(1, grid.beats_per_bar)
    before = max(0, int(np.ceil(grid.times[0] / first - 1e-6)))
    after = max(0, int(np.ceil((seconds - grid.times[-1]) / last - 1e-6)) - 1)
    times = np.concatenate(
        [
            grid.times[0] - first * np.arange(before, 0, -1),
            grid.times,
            grid.times[-1] + last * np.arange(1, after + 1),
        ]
    )
    numbers = np.concatenate(
        [
            (grid.numbers[0] - 1 - np.arange(before, 0, -1)) % bar + 1,
            grid.numbers,
            (grid.numbers[-1] - 1 + np.arange(1, after + 1)) % bar + 1,
        ]
    )
    kept = (np.append(times[1:], np.inf) > 0) & (times < seconds)
    return np.append(times[kept].clip(0), seconds), numbers[kept], bar


def costs(numbers: np.ndarray, bar: int, change: tuple[float, float, float] = CHANGE) -> np.ndarray:
    """What a change of the chord costs at each beat, by its number in the bar: float64 [T]."""
    downbeat, middle, elsewhere = change
    if not bar:
        return np.full(len(numbers), middle)
    half = (numbers - 1) * 2 == bar
    return np.where(numbers == 1, downbeat, np.where(half, middle, elsewhere))


def _chart(states: list[Chord], scores: np.ndarray, costs: np.ndarray, edges: np.ndarray) -> Chart:
    path = [states[i] for i in paths.best(scores, costs)]
    spans = (Span(start, end, chord) for start, end, chord in zip(edges[:-1], edges[1:], path))
    return Chart(tuple(span for span in spans if span.end - span.start > 1e-3)).joined()
