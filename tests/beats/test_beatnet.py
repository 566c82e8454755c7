import numpy as np

from stage.beats.beatnet import FRAME_RATE, RATE, features, filterbank, published
from stage.beats.grid import BeatGrid, click_track


def test_filterbank():
    bank = filterbank()
    assert bank.shape == (705, 136)
    assert np.allclose(bank.sum(axis=0), 1)
    centres = bank.argmax(axis=0) * RATE / 2 / 705
    assert (np.diff(centres) > 0).all() and centres[0] > 30 and centres[-1] < RATE / 2


def test_features_show_a_tone_in_its_band_and_its_start_as_a_rise():
    audio = np.zeros(RATE, np.float32)
    audio[RATE // 2 :] = np.sin(2 * np.pi * 440 / RATE * np.arange(RATE // 2))
    found = features(audio)
    assert found.shape == (50, 272) and found.dtype == np.float32
    band = int(np.abs(filterbank().argmax(axis=0) * RATE / 2 / 705 - 440).argmin())
    assert found[35, :136].argmax() == band
    assert found[:, 136:].sum(axis=1).argmax() in (24, 25)
    assert not found[:20].any()


def test_features_of_long_audio_do_not_depend_on_the_pieces():
    audio = np.random.default_rng(0).standard_normal(RATE * 90).astype(np.float32)
    whole, part = features(audio), features(audio[4000 * 441 : 4200 * 441])
    assert np.allclose(whole[4010:4190], part[10:190], atol=1e-5)


def test_the_networks_see_clicks():
    grid = BeatGrid.regular(120, 4, 8, start=0.5)
    probabilities = published(features(click_track(grid, 8, RATE)))
    assert probabilities.shape == (400, 2)
    assert (probabilities >= 0).all() and (probabilities.sum(axis=1) <= 1 + 1e-6).all()
    on = np.round(grid.times * FRAME_RATE).astype(int)
    peaks = np.max([probabilities.sum(axis=1)[on + shift] for shift in (-1, 0, 1)], axis=0)
    off = probabilities.sum(axis=1)[on[:-1] + 12]
    assert np.median(peaks) > 0.5 and np.median(peaks) > 2 * np.median(off)
