import time

import numpy as np
import pytest

from stage.beats.grid import BeatGrid, click_track
from stage.beats.tracker import smooth, to_peaks, track

RATE = 32000


def drums(grid: BeatGrid, seconds: float, rate: int = RATE) -> np.ndarray:
    """A plain beat: kick on odd beats, snare on even ones, a hat on every eighth. float32 [seconds * rate]."""
    rng = np.random.default_rng(0)
    step = np.arange(round(0.2 * rate)) / rate
    kick = 0.8 * np.sin(2 * np.pi * 55 * step) * np.exp(-step / 0.06)
    snare = 0.5 * rng.standard_normal(len(step)) * np.exp(-step / 0.05)
    hat = 0.15 * np.diff(rng.standard_normal(len(step) + 1)) * np.exp(-step / 0.015)
    out = np.zeros(round((seconds + 1) * rate))
    half = 30 / grid.bpm
    for time, number in zip(grid.times, grid.numbers):
        for at, sound in ((time, kick if number % 2 else snare), (time, hat), (time + half, hat)):
            out[round(at * rate) :][: len(step)] += sound
    return out[: round(seconds * rate)].astype(np.float32)


def within(found: np.ndarray, truth: np.ndarray, seconds: float) -> float:
    """Share of the true times that have a found one nearby."""
    return float(np.mean(np.abs(found[None] - truth[:, None]).min(axis=1) < seconds))


@pytest.mark.parametrize("bpm, start", [(96, 0.1), (112, 0.25), (126, 0.0)])
def test_follows_drums(bpm, start):
    truth = BeatGrid.regular(bpm, 4, 10, start)
    found = track(drums(truth, 10), RATE)
    assert found.bpm == pytest.approx(bpm, rel=0.01)
    assert within(found.times, truth.times, 0.03) > 0.9
    assert len(found) <= len(truth) + 1


def test_follows_a_metronome():
    truth = BeatGrid.regular(128, 4, 10, 0.2)
    found = track(click_track(truth, 10, RATE), RATE)
    assert within(found.times, truth.times, 0.03) > 0.9


def test_channels_and_level_do_not_matter():
    truth = BeatGrid.regular(110, 4, 8, 0.2)
    mono = track(drums(truth, 8, 44100), 44100)
    stereo = track(0.01 * np.stack([drums(truth, 8, 44100)] * 2), 44100)
    assert len(mono) == len(stereo)
    assert stereo.times == pytest.approx(mono.times, abs=1e-3)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(10 * RATE),
        np.zeros((2, 0)),
        np.zeros(1),
        np.full(100, 0.5),
        np.full(5 * RATE, np.nan),
        np.full(5 * RATE, 1e-6),
    ],
    ids=["silent", "empty", "one sample", "short", "nan", "inaudible"],
)
def test_nothing_to_track_gives_an_empty_grid(audio):
    assert len(track(audio.astype(np.float32), RATE)) == 0


def test_noise_does_not_crash():
    noise = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    grid = track(noise, RATE)
    assert (grid.times < 3).all()


def test_ten_seconds_are_quick():
    clicks = click_track(BeatGrid.regular(120, 4, 10), 10, RATE)
    track(clicks, RATE)
    start = time.process_time()
    track(clicks, RATE)
    assert time.process_time() - start < 2.0


def test_to_peaks_finds_the_top_between_frames():
    at = np.arange(40)
    activation = np.exp(-0.5 * ((at - 11.3) / 1.2) ** 2) + np.exp(-0.5 * ((at - 30.0) / 1.2) ** 2)
    assert to_peaks(np.array([10, 29]), activation) == pytest.approx([11.3, 30.0], abs=0.1)


def test_smooth_keeps_a_steady_tempo_and_lessens_jitter():
    steady = 0.3 + 0.5 * np.arange(20)
    assert smooth(steady) == pytest.approx(steady)
    jittered = steady + np.random.default_rng(0).uniform(-0.02, 0.02, 20)
    assert np.abs(smooth(jittered) - steady).mean() < 0.6 * np.abs(jittered - steady).mean()
