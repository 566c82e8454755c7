"""Distances between sets of embeddings, with known answers."""

import numpy as np
import pytest

from stage.evaluation.figures import distances


def test_the_frechet_distance_of_gaussians_is_the_formula():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, (20000, 3)), rng.normal([1, 0, 0], [1, 2, 1], (20000, 3))
    assert distances.frechet(a, b) == pytest.approx(1 + (2 - 1) ** 2, abs=0.15)
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-6)
    small = rng.normal(0, 1, (10, 64))  # fewer embeddings than dimensions
    assert distances.frechet(small, small) == pytest.approx(0, abs=1e-6)


def test_the_limit_takes_the_bias_of_few_clips_away():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, (3000, 16)), rng.normal(0, 1, (120, 16))
    biased, limit = distances.frechet(a, b), distances.limit(a, b)
    assert biased > 0.5 and abs(limit) < 0.6 * biased
    assert np.isnan(distances.limit(a, b[:8]))


def test_the_kernel_distance_is_zero_for_equals_and_grows():
    rng = np.random.default_rng(3)
    a, same, near, far = (rng.normal(shift, 1, (300, 8)) for shift in (0, 0, 0.5, 3))
    assert abs(distances.kernel(a, same)) < 0.5 < distances.kernel(a, near) < distances.kernel(a, far) < 200
    clips = [part.reshape(75, 4, 8) for part in (a, far)]
    found = distances.kad(list(clips[0]), list(clips[1]), draws=20)
    assert found.low < found.value < found.high
