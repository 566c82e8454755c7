"""Means and their intervals."""

import numpy as np
import pytest

from stage.evaluation.figures.statistics import bootstrap


def test_intervals_hold_the_mean_and_shrink_with_the_clips():
    values = np.random.default_rng(0).normal(3, 1, 400)
    mean, low, high = bootstrap(values)
    few = bootstrap(values[:20])
    assert low < mean < high and mean == pytest.approx(3, abs=0.15) and high - low < 0.25 < few[2] - few[1]
    assert all(np.isnan(bootstrap(np.array([np.nan]))))
