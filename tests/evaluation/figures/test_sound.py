import numpy as np
import pytest

from stage.evaluation.figures.sound import align, log_mel_distance, mel_bank, mel_spectrum, opus, sounding

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


def test_a_full_scale_tone_reads_one_in_its_band():
    step = np.arange(RATE) / RATE
    for frequency in (1000, 4000):
        spectrum = mel_spectrum(np.sin(2 * np.pi * frequency * step), RATE)
        assert spectrum.shape == (101, 80)
        edges = 2595 * np.log10(1 + np.array([frequency, RATE / 2]) / 700)
        assert spectrum[50].argmax() == pytest.approx(edges[0] / edges[1] * 81 - 1, abs=1)
        assert 0.5 < spectrum[50].max() < 2


def test_no_band_is_empty():
    assert (mel_bank(RATE, 80, 1024).sum(axis=0) >= 0.5).all()


def test_a_stem_sounds_where_it_is_within_forty_decibels_of_its_loudest():
    tone = np.sin(2 * np.pi * 220 * np.arange(4 * RATE) / RATE)
    tone[RATE : 2 * RATE] *= 10 ** (-50 / 20)
    tone[2 * RATE : 3 * RATE] *= 10 ** (-30 / 20)
    assert sounding(tone, RATE) == pytest.approx(0.75, abs=0.02)
    assert sounding(1e-3 * tone, RATE) == sounding(tone, RATE)
    assert sounding(np.zeros(RATE), RATE) == 0
