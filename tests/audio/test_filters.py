"""One set of filter banks: to the last bit the numbers with which the networks that read them were trained."""

import math

import numpy as np
import pytest
import torch

from stage.audio import filters
from stage.beats.beatnet import filterbank
from stage.evaluation.coherence import spectra
from stage.evaluation.figures.sound import mel_bank, slaney_bank
from stage.models.spectral import mel_bands


@pytest.mark.parametrize(
    "bands, window, rate", [(96, 1024, 32000), (40, 512, 32000), (80, 2048, 32000), (8, 256, 8000)]
)
def test_the_bands_of_the_spectral_codec(bands, window, rate):
    top, bottom = (2595 * math.log10(1 + hz / 700) for hz in (rate / 2, 30.0))
    edges = 700 * (10 ** (torch.linspace(bottom, top, bands + 2) / 2595) - 1)
    bins = torch.arange(window // 2 + 1) * rate / window
    width = torch.maximum(edges[1:] - edges[:-1], torch.tensor(rate / window))
    rising = (bins[:, None] - (edges[1:-1] - width[:-1])) / width[:-1]
    falling = ((edges[1:-1] + width[1:]) - bins[:, None]) / width[1:]
    assert torch.equal(mel_bands(bands, window, rate), torch.minimum(rising, falling).clamp(min=0))


def test_the_semitones_of_the_codec_loss():
    centres = 32.7 * 2 ** (torch.arange(84) / 12)
    width = torch.maximum(centres * (2 ** (1 / 12) - 1), torch.tensor(32000 / 8192))
    bins = torch.arange(4097) * 32000 / 8192
    want = (1 - (bins[:, None] - centres).abs() / width).clamp(min=0)
    assert torch.equal(filters.semitone_triangles(32.7, 84, 8192, 32000, torch), want)


@pytest.mark.parametrize(
    "rate, bands, window", [(32000, 80, 1024), (44100, 60, 1024), (16000, 60, 512), (8000, 80, 1024)]
)
def test_the_bands_of_the_figures(rate, bands, window):
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(window, 1 / rate)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bank = np.minimum((bins[:, None] - left) / (centre - left), (right - bins[:, None]) / (right - centre)).clip(0)
    for band in np.flatnonzero(bank.sum(axis=0) < 0.5):
        bank[np.abs(bins - centre[band]).argmin(), band] = 1.0
    assert np.array_equal(mel_bank(rate, bands, window), bank.astype(np.float32))


@pytest.mark.parametrize("rate, bands, window", [(16000, 96, 512), (44100, 128, 2048), (1500, 10, 128)])
def test_the_bands_on_slaneys_scale_are_librosas(rate, bands, window):
    librosa = pytest.importorskip("librosa")
    want = librosa.filters.mel(sr=rate, n_fft=window, n_mels=bands).T
    assert np.abs(slaney_bank(rate, bands, window) - want).max() < 1e-7


def test_the_bands_of_the_beat_networks():
    corners = 440 * 2 ** (np.arange(-93, 127) / 24)
    corners = np.unique(np.clip(np.round(corners / (22050 / 2 / 705)), 1, 704).astype(int))
    bank = np.zeros((705, len(corners) - 2), np.float32)
    for band, (left, centre, right) in enumerate(zip(corners, corners[1:], corners[2:])):
        at = np.arange(left, right)
        bank[left:right, band] = np.minimum((at - left) / (centre - left), (right - at) / (right - centre))
    assert np.array_equal(filterbank(), bank / bank.sum(axis=0))


def test_the_bands_of_the_scorer():
    """The mel scale is HTK's; each filter's weights add up to 1, and none is empty."""
    mels, keys = spectra._banks()
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([40.0, 7800.0]) / 700)), 42) / 2595) - 1)
    hz = np.linspace(0, 8000, 257)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rows = np.clip(np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)), 0, None)
    assert np.array_equal(mels.numpy(), (rows / np.maximum(rows.sum(0), 1e-9)).astype(np.float32))
    assert keys.shape == (2049, 72) and torch.allclose(keys.sum(0), torch.ones(72))
    centres = filters.note_hz(28 + np.arange(72)) / (16000 / 4096)
    assert (np.abs(keys.argmax(0).numpy() - centres) <= 1).all()


def test_frames_are_all_that_are_whole_or_as_many_as_asked_for():
    audio = np.arange(10)
    assert filters.frames(audio, 4, 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert filters.frames(audio, 4, 3, 2).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6]]
    assert filters.frames(np.arange(9), 4, 3).shape == (2, 4)
