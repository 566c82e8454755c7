import numpy as np
import pytest

from stage.beats.grid import BeatGrid, click_track
from stage.evaluation.figures import beats

RATE = 32000
GRID = BeatGrid.regular(120, 4, 8, start=0.25)


def test_f_measure_counts_each_beat_once():
    truth = np.arange(10) * 0.5
    assert beats.f_measure(truth, truth) == 1.0
    assert beats.f_measure(truth, truth + 0.069) == 1.0
    assert beats.f_measure(truth, truth + 0.071) == 0.0
    assert beats.f_measure(truth, np.sort(np.concatenate([truth, truth + 0.01]))) == pytest.approx(2 * 10 / 30)
    assert beats.f_measure(truth, truth[::2]) == pytest.approx(2 * 5 / 15)
    assert beats.f_measure(truth, np.zeros(0)) == 0.0 == beats.f_measure(np.zeros(0), truth)


def test_f_measure_agrees_with_mir_eval():
    mir_eval = pytest.importorskip("mir_eval")
    rng = np.random.default_rng(0)
    for _ in range(50):
        truth, found = (np.sort(rng.uniform(0, 10, rng.integers(1, 40))) for _ in range(2))
        assert beats.f_measure(truth, found) == pytest.approx(mir_eval.beat.f_measure(truth, found))


def test_errors_of_time_and_tempo():
    truth = np.arange(10) * 0.5
    assert beats.mean_error(truth, truth + 0.02) == pytest.approx(0.02)
    assert np.isnan(beats.mean_error(truth, np.zeros(0)))
    assert beats.tempo_difference(120, 61) == pytest.approx(2)
    assert beats.tempo_difference(120, 90) == pytest.approx(30)


@pytest.mark.parametrize("rate", [22050, 32000, 44100])
def test_onsets_of_clicks_are_found_on_time(rate):
    found = beats.onsets(click_track(GRID, 8, rate), rate)
    assert found == pytest.approx(GRID.times, abs=0.015)


def test_onsets_in_noise_and_at_any_level():
    noise = 0.01 * np.random.default_rng(0).standard_normal(8 * RATE)
    for gain in (0.01, 1.0):
        found = beats.onsets(gain * (click_track(GRID, 8) + noise), RATE)
        # The noise begins with the clip, which is an onset too.
        assert found[found > 0.1] == pytest.approx(GRID.times, abs=0.02)


def test_no_onsets_in_silence_or_a_steady_tone():
    tone = np.sin(2 * np.pi * 220 / RATE * np.arange(4 * RATE))
    assert len(beats.onsets(np.zeros(4 * RATE), RATE)) == 0
    assert len(beats.onsets(tone, RATE)) <= 1
    assert beats.onset_density(click_track(GRID, 8), RATE) == pytest.approx(2.0)


def test_onset_agreement_of_onsets_on_off_and_anywhere():
    on = beats.onset_agreement(GRID.times, GRID.times + 0.03)
    off = beats.onset_agreement(GRID.times, GRID.times + 0.25)
    both = beats.onset_agreement(GRID.times, np.arange(0, 8, 0.25))
    assert (on.on, on.off, on.agreement) == (1, 0, 1)
    assert off.agreement <= -0.9
    assert both.on == both.off == 1 and both.agreement == 0
    assert beats.onset_agreement(GRID.times, np.zeros(0)).agreement == 0
    assert beats.onset_agreement(GRID.times[:1], GRID.times).agreement == 0


def test_beat_phases():
    phases = beats.beat_phases(np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 1.25, 3.0, 4.5]))
    assert phases == pytest.approx([0.0, 0.25, 0.5])


def kicks(where: np.ndarray) -> np.ndarray:
    step = np.arange(RATE // 5) / RATE
    out = np.zeros(9 * RATE)
    for time in where:
        out[round(time * RATE) :][: len(step)] += np.sin(2 * np.pi * 60 * step) * np.exp(-step / 0.06)
    return out[: 8 * RATE]


def test_energy_of_the_kick_on_downbeats_and_elsewhere():
    down, other = beats.kick_energies(kicks(GRID.downbeats), RATE, GRID)
    assert down > other
    down, other = beats.kick_energies(kicks(GRID.times[GRID.numbers == 2]), RATE, GRID)
    assert down < other
    down, other = beats.kick_energies(kicks(GRID.times), RATE, GRID)
    assert down == pytest.approx(other, rel=0.1)
    hats = click_track(GRID, 8)
    assert beats.kick_energies(hats, RATE, GRID)[0] < 0.01 * down


def test_beats_that_are_right_late_twice_as_fast_or_missing():
    truth = BeatGrid.regular(120, 4, 10.0)
    right = beats.beat_figures(truth, truth, 10.0)
    assert right["f_measure"] == right["cmlt"] == right["amlt"] == 1 and right["emd"] == right["mean_error"] == 0
    late = beats.beat_figures(truth, truth.shift(0.1), 10.0)
    assert late["f_measure"] == 0 and late["mean_error"] == pytest.approx(0.1) and late["emd"] == pytest.approx(0.1)
    fast = beats.beat_figures(truth, BeatGrid.regular(240, 4, 10.0), 10.0)
    assert (
        fast["cmlt"] == 0
        and fast["amlt"] == pytest.approx(1, abs=0.05)
        and fast["tempo_difference"] == pytest.approx(0, abs=1e-6)
    )
    assert fast["f_measure"] == pytest.approx(2 / 3, abs=0.02)
    off = beats.beat_figures(truth, BeatGrid.regular(130, 4, 10.0), 10.0)
    assert off["tempo_difference"] == pytest.approx(10) and off["f_measure"] < 0.5
    none = beats.beat_figures(truth, BeatGrid.empty(), 10.0)
    assert none["f_measure"] == 0 and np.isnan(none["emd"])
