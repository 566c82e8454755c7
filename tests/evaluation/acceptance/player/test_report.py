"""Figures of the player's report with values reckoned by hand."""

import numpy as np
import pytest

from stage.evaluation.acceptance.player.report import fill_ratio


def test_fills_are_compared_and_none_at_all_is_no_merit():
    bars = np.array([True, False, False, False])
    assert fill_ratio(bars, np.zeros(9, bool)) == pytest.approx(2.5)
    assert fill_ratio(bars, np.arange(9) < 4) == pytest.approx(0.5)
    assert fill_ratio(~bars & False, np.zeros(9, bool)) == 0
