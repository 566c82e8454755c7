import json
import math

import numpy as np
import pytest

from helpers.clips import RATE, drums, tone
from stage.beats.grid import BeatGrid
from stage.evaluation.acceptance.score import METRICS, Analysis, around, mean_scores, score
from stage.evaluation.figures.harmony import Chord
from stage.evaluation.truth import Truth

GRID = BeatGrid.regular(110, 4, 8, start=0.2)
TRUTH = Truth(GRID, 110.0, (Chord(0, 8, frozenset({9, 0, 4})),))


def test_drums_in_time():
    found = Analysis.of(drums(GRID, 8), RATE, pitched=False)
    figures = score(found, TRUTH)
    assert tuple(figures) == METRICS
    assert figures["beat_f"] > 0.9 and figures["onset_on"] > 0.9 and figures["mean_error"] < 0.03
    assert math.isnan(figures["in_chord"])
    late = score(found, Truth(GRID.shift(0.2).crop(0, 8), 110.0))
    assert late["beat_f"] < 0.2


def test_half_time_is_tracked_as_the_true_tempo():
    fast = BeatGrid.regular(150, 4, 8, 0.2)
    found = Analysis.of(drums(fast, 8), RATE, pitched=False)
    assert found.grid(around(150.0)).bpm == pytest.approx(150, rel=0.02)
    assert found.grid(around(75.0)).bpm == pytest.approx(75, rel=0.02)
    assert score(found, Truth(fast, 150.0))["beat_f"] > 0.9


def test_pitched_stems_have_notes():
    bass = np.tile(np.concatenate([tone(33, 0.5), tone(34, 0.5)]), 8).astype(np.float32)
    figures = score(Analysis.of(bass, RATE, pitched=True), TRUTH)
    assert figures["in_chord"] == pytest.approx(0.5, abs=0.1)


def test_an_analysis_survives_json():
    found = Analysis.of(drums(GRID, 8), RATE, pitched=False)
    again = Analysis.from_json(json.loads(json.dumps(found.to_json())))
    assert score(again, TRUTH) == pytest.approx(score(found, TRUTH), nan_ok=True)


def test_what_is_not_an_analysis_is_refused():
    good = Analysis.of(drums(GRID, 8), RATE, pitched=False).to_json()
    for change in (
        {"activation": "AAAA"},
        {"activation": "!"},
        {"activation": "/3//fw=="},
        {"activation": 3},
        {"onsets": [[1.0]]},
        {"onsets": ["x"]},
        {"seconds": 0},
        {"seconds": "8"},
        {"notes": [[0, 1]]},
        {"more": 1},
    ):
        with pytest.raises((TypeError, ValueError)):
            Analysis.from_json(good | change)


def test_silence_scores_nothing():
    figures = score(Analysis.of(np.zeros(8 * RATE, np.float32), RATE, pitched=True), TRUTH)
    assert figures["beat_f"] == figures["onset_agreement"] == figures["density"] == 0


def test_means_leave_out_what_does_not_apply():
    scores = [dict.fromkeys(METRICS, 1.0), dict.fromkeys(METRICS, 0.0) | {"in_chord": math.nan}]
    means = mean_scores(scores)
    assert means["clips"] == 2 and means["beat_f"] == 0.5 and means["in_chord"] == 1.0
    assert math.isnan(mean_scores([])["beat_f"])
