import numpy as np
import pytest

from stage.evaluation.figures.spectra import mel_bank, mel_spectrum

RATE = 32000


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
