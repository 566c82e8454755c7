"""Distances between two sets of embeddings: FAD (arXiv 1812.08466) and KAD (arXiv 2502.15602), with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Distance:
    """value and its 95 % bootstrap interval. limit: for FAD, its extrapolation to endlessly many clips; nan where there
    are too few for that."""

    value: float
    low: float
    high: float
    limit: float = float("nan")


def frechet(reference: np.ndarray, made: np.ndarray) -> float:
    """Frechet distance of two Gaussians fitted to embeddings [n, D] and [m, D]; at least two of each.

    |mean difference|^2 + tr(A + B - 2 (A B)^(1/2)). The trace of the root comes from the singular values of the product
    of the centred sets, which needs no D x D root and stays right where there are fewer embeddings than dimensions.
    """
    a, b = (np.asarray(part, np.float64) for part in (reference, made))
    x, y = ((part - part.mean(0)) / np.sqrt(len(part) - 1) for part in (a, b))
    x, y = (np.linalg.qr(part, mode="r") for part in (x, y))  # the same products in min(n, D) rows
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.square(x).sum() + np.square(y).sum() - 2 * root)


def kernel(reference: np.ndarray, made: np.ndarray, width: float | None = None) -> float:
    """KAD: 100 times the unbiased squared maximum mean discrepancy with a Gaussian kernel; about 0 for equal
    distributions, at times below.

    width: of the kernel; the median distance within the reference by default. The factor is that of the authors'
    toolkit.
    """
    a, b = (np.asarray(part, np.float64) for part in (reference, made))
    width = median_width(a) if width is None else width
    xx, yy, xy = (np.exp(-_squares(p, q) / (2 * width**2)) for p, q in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    inside = (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1))
    return float(100 * (inside - 2 * xy.mean()))


def median_width(embeddings: np.ndarray) -> float:
    """Median distance of two different embeddings [n, D]; 1 where all are the same."""
    squares = _squares(embeddings, embeddings)[np.triu_indices(len(embeddings), 1)]
    return float(np.sqrt(np.median(squares))) or 1.0


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum(np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * a @ b.T, 0)


def limit(reference: np.ndarray, made: np.ndarray, draws: int = 12, seed: int = 0) -> float:
    """FAD without the bias of few samples (arXiv 2311.01616): the distances of ever larger random parts of `made`,
    fitted by a line over 1 / n, at 1 / n = 0.

    nan with fewer than 16 embeddings, which are too few for a line.
    """
    if len(made) < 16:
        return float("nan")
    rng, points = np.random.default_rng(seed), []
    for count in np.linspace(len(made) // 3, len(made), draws).astype(int):
        points.append((1 / count, frechet(reference, made[rng.choice(len(made), count, replace=False)])))
    inverse, values = np.array(points).T
    return float(np.polyfit(inverse, values, 1)[1])


def fad(reference: list[np.ndarray], made: list[np.ndarray], draws: int = 60, seed: int = 0) -> Distance:
    """Frechet distance of two lists of clips, each [windows, D]. The interval comes from drawing whole clips again,
    since the windows of a clip are alike."""
    value = frechet(np.concatenate(reference), np.concatenate(made))
    # drawing with repetitions makes FAD larger; the interval is moved back by as much
    drawn = np.array([frechet(*pair) for pair in _draws(reference, made, draws, seed)])
    low, high = np.percentile(drawn, [2.5, 97.5]) - drawn.mean() + value
    return Distance(value, float(low), float(high), limit(np.concatenate(reference), np.concatenate(made), seed=seed))


def kad(reference: list[np.ndarray], made: list[np.ndarray], draws: int = 60, seed: int = 0) -> Distance:
    """Kernel distance of two lists of clips, with an interval as of `fad`."""
    whole = np.concatenate(reference)
    width = median_width(whole)
    value = kernel(whole, np.concatenate(made), width)
    drawn = np.array([kernel(*pair, width) for pair in _draws(reference, made, draws, seed)])
    low, high = np.percentile(drawn, [2.5, 97.5]) - drawn.mean() + value
    return Distance(value, float(low), float(high))


def _draws(reference: list[np.ndarray], made: list[np.ndarray], draws: int, seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield tuple(
            np.concatenate([part[i] for i in rng.integers(len(part), size=len(part))]) for part in (reference, made)
        )
