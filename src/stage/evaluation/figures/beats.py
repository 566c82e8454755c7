"""Is a stem on the beat? Beat F-measure, onsets and their agreement with known beats, the kick on downbeats.

The true beats are always known here (rendered songs, metronomes); only the generated side is analysed. The
F-measure needs a beat tracker (`stage.beats.tracker.track`), the onset figures do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from stage.beats.grid import BeatGrid
from stage.errors import MissingExtra
from stage.evaluation.figures.sound import mel_spectrum

WINDOW = 0.07
"""Seconds by which a found beat may miss a true one, either way, in the F-measure."""

SECTIONS = ("f_measure", "cmlt", "amlt", "tempo_difference", "mean_error", "emd")
"""Figures of beats: shares 0..1; BPM; seconds; seconds."""

ONSET_HOP = 0.01
ONSET_TOLERANCE = 0.05


def matches(truth: np.ndarray, found: np.ndarray, window: float) -> int:
    """Pairs of rising times within a window, each in one pair at most."""
    count = i = j = 0
    while i < len(truth) and j < len(found):
        if abs(truth[i] - found[j]) <= window:
            count, i, j = count + 1, i + 1, j + 1
        elif truth[i] < found[j]:
            i += 1
        else:
            j += 1
    return count


def f_measure(truth: np.ndarray, found: np.ndarray, window: float = WINDOW) -> float:
    """Harmonic mean of precision and recall of found beats, each true beat matched at most once.

    truth, found: rising seconds. Nothing is trimmed at the beginning. 0 if either is empty (as in mir_eval).
    """
    matched = matches(truth, found, window)
    return 2 * matched / (len(truth) + len(found)) if matched else 0.0


def mean_error(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean distance in seconds from each true beat to the nearest found one; nan if either is empty."""
    if not len(truth) or not len(found):
        return float("nan")
    return float(np.abs(np.asarray(found)[None] - np.asarray(truth)[:, None]).min(axis=1).mean())


def tempo_difference(truth: float, found: float) -> float:
    """Difference of two tempi in BPM, forgiving an octave: the found tempo may be halved, doubled or neither."""
    return min(abs(found * factor - truth) for factor in (0.5, 1.0, 2.0))


def beat_figures(truth: BeatGrid, found: BeatGrid, seconds: float) -> dict[str, float]:
    """Figures of found beats against true ones; nothing is trimmed at the beginning (the paper's protocol).

    f_measure: +-70 ms. cmlt, amlt: share of beats in continuity at the right metrical level, or at half, double or
    offbeat too.
    tempo_difference: BPM, an octave forgiven. mean_error: seconds from each true beat to the nearest found one.
    emd: see `earth_movers`. The last three are nan where a side has no beats.
    """
    try:
        import mir_eval
    except ImportError:
        raise MissingExtra("the figures of beats", "evaluate") from None
    reference, estimate = np.sort(truth.times), np.sort(found.times)
    if len(reference) < 2 or len(estimate) < 2:
        shares = (0.0, 0.0, 0.0) if len(reference) else (np.nan,) * 3
    else:
        f = mir_eval.beat.f_measure(reference, estimate, 0.07)
        _, cmlt, _, amlt = mir_eval.beat.continuity(reference, estimate)
        shares = (float(f), float(cmlt), float(amlt))
    tempo = tempo_difference(truth.bpm, found.bpm) if len(truth) > 1 and len(found) > 1 else np.nan
    return dict(
        zip(SECTIONS, (*shares, tempo, mean_error(reference, estimate), earth_movers(reference, estimate, seconds)))
    )


def earth_movers(truth: np.ndarray, found: np.ndarray, seconds: float) -> float:
    """Earth mover's distance in seconds between two sets of beats, each a unit of mass spread evenly over its beats.

    In one dimension it is the area between the distribution functions (scipy's wasserstein_distance). nan where a side
    is empty.
    """
    from scipy.stats import wasserstein_distance

    inside = [times[(times >= 0) & (times <= seconds)] for times in (truth, found)]
    return float(wasserstein_distance(*inside)) if all(map(len, inside)) else float("nan")


def onset_strength(audio: np.ndarray, rate: int) -> np.ndarray:
    """Rise of the log spectrum, mean over mel bands: float32 [1 + N // hop], a frame every 10 ms.

    Levels are relative to the clip's loudest band, with a floor 60 dB below it, so neither gain nor faint noise
    matters.
    """
    bands = mel_spectrum(audio, rate, bands=60, window=1024 if rate >= 22050 else 512, hop=round(ONSET_HOP * rate))
    loudest = float(bands.max(initial=0))
    if loudest < 1e-5:
        return np.zeros(len(bands), np.float32)
    logs = np.log10(np.maximum(bands / loudest, 1e-3))
    rise = np.zeros_like(logs)
    # Two frames back and the loudest neighbouring band there: a wandering pitch does not count as an onset.
    rise[2:] = np.maximum(logs[2:] - maximum_filter1d(logs, 3, axis=1)[:-2], 0)
    return rise.mean(axis=1)


def onsets(audio: np.ndarray, rate: int, threshold: float = 0.04) -> np.ndarray:
    """Times of onsets: float64 [n] seconds. audio: float [N].

    Peaks of `onset_strength` that exceed the mean of 100 ms before and after by `threshold` and reach
    6 % of the clip's strongest, at least 50 ms apart.
    """
    strength = onset_strength(audio, rate)
    around = uniform_filter1d(strength, 21)
    tall = strength >= np.maximum(around + threshold, 0.06 * strength.max(initial=0))
    peaks = np.flatnonzero(tall & (strength == maximum_filter1d(strength, 5)))
    kept: list[int] = []
    for peak in peaks:
        if not kept or (peak - kept[-1]) * ONSET_HOP >= 0.05 - 1e-9:
            kept.append(peak)
    return np.array(kept, np.float64) * ONSET_HOP


def onset_density(audio: np.ndarray, rate: int) -> float:
    """Onsets a second."""
    return len(onsets(audio, rate)) / (len(audio) / rate) if len(audio) else 0.0


@dataclass(frozen=True)
class OnsetAgreement:
    """Shares of beats with an onset nearby: on the beat, half a beat off, and the difference."""

    on: float
    off: float

    @property
    def agreement(self) -> float:
        return self.on - self.off


def onset_agreement(beats: np.ndarray, found: np.ndarray, tolerance: float = ONSET_TOLERANCE) -> OnsetAgreement:
    """How onsets stand to known beats.

    beats, found: rising seconds. `on` is the share of beats that have an onset within `tolerance`, `off` the same for
    the points half-way between beats. Onsets anywhere give an agreement near 0, as do none.
    """
    beats = np.asarray(beats, np.float64)
    if len(beats) < 2:
        return OnsetAgreement(0.0, 0.0)
    halves = (beats[1:] + beats[:-1]) / 2
    return OnsetAgreement(*(_share_near(points, found, tolerance) for points in (beats, halves)))


def _share_near(points: np.ndarray, found: np.ndarray, tolerance: float) -> float:
    if not len(found):
        return 0.0
    return float(np.mean(np.abs(np.asarray(found)[None] - points[:, None]).min(axis=1) <= tolerance))


def beat_phases(beats: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Where onsets stand between the beats around them: float64 [m] in [0, 1), those outside the beats left out."""
    index = np.searchsorted(beats, found, side="right") - 1
    inside = (index >= 0) & (index < len(beats) - 1)
    index, found = index[inside], np.asarray(found)[inside]
    return (found - beats[index]) / (beats[index + 1] - beats[index])


def kick_energies(audio: np.ndarray, rate: int, grid: BeatGrid) -> tuple[float, float]:
    """Mean energy that begins below 120 Hz on downbeats and on the other beats.

    audio: float [N]. What begins at a beat is the mean square from 30 ms before to 90 ms after it, less that of the
    120 ms before (at least 0). nan where a clip has none of them.
    """
    low = sosfiltfilt(butter(4, 120, "lowpass", fs=rate, output="sos"), np.asarray(audio, np.float64))
    total = np.concatenate([[0.0], np.cumsum(low**2)])

    def mean_square(start: float, end: float) -> float:
        first, last = (int(np.clip(round(t * rate), 0, len(low))) for t in (start, end))
        return (total[last] - total[first]) / max(1, last - first)

    begins = np.array([max(0.0, mean_square(t - 0.03, t + 0.09) - mean_square(t - 0.15, t - 0.03)) for t in grid.times])
    down = grid.numbers == 1
    return tuple(float(begins[which].mean()) if which.any() else float("nan") for which in (down, ~down))
