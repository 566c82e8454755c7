"""Means over clips and their intervals."""

from __future__ import annotations

import numpy as np


def bootstrap(values: np.ndarray, draws: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % interval over clips: float [n], nan left out. Three nans where nothing is left."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return (float("nan"),) * 3
    means = values[np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))].mean(1)
    return float(values.mean()), *map(float, np.percentile(means, [2.5, 97.5]))


def wilson(hits: np.ndarray) -> tuple[float, float]:
    """Wilson's 95 % interval of a share. hits: bool [n]."""
    n, share, z = len(hits), float(hits.mean()), 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(middle - half), float(middle + half)


def bootstrap_ratio(values: np.ndarray, reference: np.ndarray, draws: int = 1000, seed: int = 0) -> tuple[float, ...]:
    """Ratio of two means and its 95 % interval over clips: float [n] each, of the same clips; those are left out in
    which either is nan. Three nans where nothing is left, or the reference's mean is not above 0."""
    pairs = np.stack([np.asarray(values, np.float64), np.asarray(reference, np.float64)], 1)
    pairs = pairs[np.isfinite(pairs).all(1)]
    if not len(pairs) or not pairs[:, 1].mean() > 0:
        return (float("nan"),) * 3
    drawn = pairs[np.random.default_rng(seed).integers(len(pairs), size=(draws, len(pairs)))].mean(1)
    drawn = drawn[drawn[:, 1] > 0]
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return float(pairs[:, 0].mean() / pairs[:, 1].mean()), float(low), float(high)
