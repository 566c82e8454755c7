"""One tempo for a whole recording, as of music that is made to a click.

Beats at equal distances are described by two numbers, period and phase, so everything in a recording speaks for them,
and a part without a clear beat, or with its accents between the beats, cannot move them, as it moves the path of
`stage.beats.bar_pointer`. Their log probability is that model's, of the same observations, without changes of tempo.

It is linear in the observations, a comb of windows. All periods are looked through by the comb's Fourier series: the
spectrum of the observations at the multiples of a frequency, each turned by the phase. The best is then computed as it
is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stage.beats.bar_pointer import BarPointer

HARMONICS, PHASES = 14, 48
"""Of the Fourier series, and phases of the comb that are compared."""
FINER = 8
"""How much finer than the spectrum's own its frequencies are."""
NEAR = 0.04
"""Tempi that differ by less are one."""
OTHER = 1.5
"""Nats a second by which another tempo than the path's must be likelier. 0.7 doubles and halves too many clips of 10 s,
with 3 a wrong path stays."""
STEP, LAST_STEP = 0.5, 0.125
"""Frames by which the last beat moves from one period that is computed to the next."""


@dataclass(frozen=True)
class Steady:
    """Beats at equal distances: their log probability, the period and the first beat (frames, not rounded), beats a
    bar, and which of the first ones is a downbeat."""

    score: float
    period: float
    phase: float
    meter: int
    downbeat: int

    def beats(self, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a recording of so many frames: float64 [n], where each begins, and int64 [n] numbers, 1 for a downbeat."""
        index = np.arange(math.ceil((frames - self.phase) / self.period))
        return self.phase + self.period * index, (index - self.downbeat) % self.meter + 1


def steadiest(probabilities: np.ndarray, model: BarPointer, bpm: float) -> Steady:
    """The most probable steady beats: of the tempo `bpm`, or another that is much likelier (`OTHER`).

    probabilities: float [T, 2], as for `BarPointer.decode`; T > 0. Tempi and metres are those of the model.
    """
    observed = model.log_observations(probabilities)
    periods, scores = _comb(observed, model)
    near = np.abs(60 * model.frame_rate / periods / bpm - 1) < NEAR
    chosen = int(scores.argmax())
    if near.any():
        own = int(np.where(near, scores, -np.inf).argmax())
        if scores[chosen] - scores[own] < OTHER * len(observed) / model.frame_rate:
            chosen = own
    period, count = periods[chosen], len(observed) / periods[chosen]
    spread = period / FINER  # from one of `periods` to the next the last beat moves by this
    around = _exact(observed, model, period + np.arange(-spread, spread + STEP, STEP) / count)
    return _exact(observed, model, around.period + np.arange(-STEP, STEP + LAST_STEP, LAST_STEP) / count)


def _comb(observed: np.ndarray, model: BarPointer) -> tuple[np.ndarray, np.ndarray]:
    """Periods in frames, and how likely the best phase of each is, in nats against no beat at all: float64 [n] each."""
    share, size = model.beat_share, 1 << math.ceil(math.log2(len(observed) * FINER))
    shown = np.logaddexp(observed[:, 1], observed[:, 2]) - observed[:, 0]
    spectrum = np.fft.rfft(shown, size)
    low, high = (bpm / 60 / model.frame_rate * size for bpm in (model.min_bpm, model.max_bpm))
    bins = np.arange(max(1, math.ceil(low)), max(2, math.floor(high) + 1))
    angles = 2 * np.pi * np.arange(PHASES) / PHASES
    scores = np.full((len(bins), PHASES), share * spectrum[0].real)
    for k in range(1, HARMONICS + 1):
        window = share * np.sinc(k * share) * np.exp(1j * np.pi * k * share)
        part = 2 * window * np.where(bins * k < len(spectrum), spectrum[np.minimum(bins * k, len(spectrum) - 1)], 0)
        scores += np.outer(part.real, np.cos(k * angles)) - np.outer(part.imag, np.sin(k * angles))
    return size / bins, scores.max(1)


def _exact(observed: np.ndarray, model: BarPointer, periods: np.ndarray) -> Steady:
    """The best of these periods, with its phase, metre and downbeat."""
    count, edges = len(observed), np.arange(len(observed) + 1)
    sums = np.concatenate([np.zeros((1, 2)), np.cumsum(observed[:, 1:] - observed[:, :1], axis=0)])
    best = Steady(-np.inf, float(periods[0]), 0.0, model.meters[0], 0)
    for period in periods:
        starts = np.arange(0.0, period)[:, None] + period * np.arange(math.ceil(count / period))
        ends = np.clip(starts + model.beat_share * period, 0, count)
        starts = np.clip(starts, 0, count)
        beats, downs = (np.interp(ends, edges, one) - np.interp(starts, edges, one) for one in sums.T)
        plain, more = beats.sum(1), downs - beats
        for meter in model.meters:
            for downbeat in range(meter):
                scores = plain + more[:, downbeat::meter].sum(1) - math.log(meter * period)
                if scores.max() > best.score:
                    best = Steady(float(scores.max()), float(period), float(scores.argmax()), meter, downbeat)
    return Steady(best.score + float(observed[:, 0].sum()), best.period, best.phase, best.meter, best.downbeat)
