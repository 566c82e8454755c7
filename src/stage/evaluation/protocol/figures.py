"""Figures of one stem: is it on the beat, at the tempo, in the harmony? Beats by `mir_eval`, whose definitions the
field uses."""

from __future__ import annotations

import numpy as np

from stage.audio.chroma import chroma
from stage.beats.grid import BeatGrid
from stage.errors import MissingExtra
from stage.evaluation.figures.beats import mean_error, tempo_difference

SECTIONS = ("f_measure", "cmlt", "amlt", "tempo_difference", "mean_error", "emd")
"""Figures of beats: shares 0..1; BPM; seconds; seconds."""
HIGHER = {
    "f_measure": True,
    "cmlt": True,
    "amlt": True,
    "tempo_difference": False,
    "mean_error": False,
    "emd": False,
    "onset_agreement": True,
    "in_chord": True,
    "chroma": True,
}
"""Whether more is better; coherence and text scores, not listed here, are better when higher."""


def beats(truth: BeatGrid, found: BeatGrid, seconds: float) -> dict[str, float]:
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


def chroma_agreement(stem: np.ndarray, context: np.ndarray, rate: int) -> float:
    """Mean correlation over time of the pitch classes of a stem and of its context, where both sound: -1..1; nan where
    they never do.

    stem, context: float32 [N] at `rate` Hz.
    """
    ours, theirs = (part - part.mean(1, keepdims=True) for part in _fitted(chroma(stem, rate), chroma(context, rate)))
    sizes = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    sounds = sizes > 1e-6
    return float(((ours * theirs).sum(1)[sounds] / sizes[sounds]).mean()) if sounds.any() else float("nan")


def _fitted(*parts: np.ndarray) -> list[np.ndarray]:
    shortest = min(map(len, parts))
    return [part[:shortest] for part in parts]


def bootstrap(values: np.ndarray, draws: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % interval over clips: float [n], nan left out. Three nans where nothing is left."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return (float("nan"),) * 3
    means = values[np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))].mean(1)
    return float(values.mean()), *map(float, np.percentile(means, [2.5, 97.5]))
