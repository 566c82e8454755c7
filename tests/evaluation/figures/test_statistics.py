"""Means and their intervals."""

import numpy as np
import pytest

from stage.evaluation.figures.statistics import bootstrap, bootstrap_ratio, wilson


def test_intervals_hold_the_mean_and_shrink_with_the_clips():
    values = np.random.default_rng(0).normal(3, 1, 400)
    mean, low, high = bootstrap(values)
    few = bootstrap(values[:20])
    assert low < mean < high and mean == pytest.approx(3, abs=0.15) and high - low < 0.25 < few[2] - few[1]
    assert all(np.isnan(bootstrap(np.array([np.nan]))))


def test_intervals_of_shares():
    low, high = wilson(np.array([True] * 90 + [False] * 10))
    assert 0.82 < low < 0.84 and 0.94 < high < 0.95


def test_ratios_of_means_are_of_the_same_clips():
    reference = np.random.default_rng(0).uniform(0.5, 1, 60)
    assert bootstrap_ratio(0.8 * reference, reference) == pytest.approx((0.8, 0.8, 0.8))
    mixed = 0.8 * np.roll(reference, 1)
    assert bootstrap_ratio(mixed, reference)[1] < 0.8 < bootstrap_ratio(mixed, reference)[2]
    assert bootstrap_ratio(np.array([1.0, np.nan]), np.array([2.0, 100.0]))[0] == 0.5
    assert all(np.isnan(bootstrap_ratio(np.ones(3), np.zeros(3))))
