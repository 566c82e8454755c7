import numpy as np
import pytest

from stage.evaluation.figures.codec import align, log_mel_distance, opus

RATE = 32000


def music(seconds: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    step = np.arange(round(seconds * RATE)) / RATE
    bursts = rng.standard_normal(len(step)) * np.exp(-(step % 0.5) / 0.05)
    return (0.3 * np.sin(2 * np.pi * 220 * step) + 0.2 * bursts).astype(np.float32)


def test_distance_is_zero_for_the_same_and_a_tenth_for_two_decibels():
    audio = np.random.default_rng(0).uniform(-1, 1, RATE).astype(np.float32)
    assert log_mel_distance(audio, audio, RATE) == 0
    assert log_mel_distance(audio, audio * 10**-0.1, RATE) == pytest.approx(0.1, abs=0.005)


def test_opus_is_in_step_and_better_with_more_bits():
    audio = music()
    poor, good = (opus(audio, RATE, bits) for bits in (6000, 64000))
    assert len(poor) == len(good) == len(audio)
    assert log_mel_distance(audio, good, RATE) < 0.5 * log_mel_distance(audio, poor, RATE)
    lag = np.correlate(good[RATE : RATE + 8000], audio[RATE - 100 : RATE + 8100], "valid").argmax() - 100
    assert abs(lag) <= 2


@pytest.mark.parametrize("lag", [-300, 0, 300])
def test_align(lag):
    audio = music(1.0)
    moved = np.roll(np.pad(audio, 1000), lag)[1000:-1000]
    assert np.allclose(align(moved, audio, 500)[400:20000], audio[400:20000])
