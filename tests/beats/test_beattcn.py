import numpy as np
import torch

from stage.beats import beattcn
from stage.beats.beatnet import FRAME_RATE, RATE, features
from stage.beats.beattcn import BeatTcn, own
from stage.beats.grid import BeatGrid, click_track


def test_it_depends_on_past_and_future():
    torch.manual_seed(0)
    network, spectra = BeatTcn(width=8, layers=6).eval(), torch.rand(1, 300, 272, requires_grad=True)
    network(spectra)[0, 150].sum().backward()
    reach = spectra.grad[0].abs().sum(-1).nonzero()[:, 0]
    assert reach.min() < 100 and reach.max() > 200


def test_pieces_agree_with_the_whole(monkeypatch):
    spectra = np.random.default_rng(0).random((9000, 272), np.float32)
    whole = own(spectra)
    monkeypatch.setattr(beattcn, "PIECE", 4000)
    assert np.allclose(own(spectra), whole, atol=1e-4)


def test_the_network_sees_clicks():
    grid = BeatGrid.regular(110, 4, 12, start=0.4)
    probabilities = own(features(click_track(grid, 12, RATE)))
    assert probabilities.shape == (600, 2)
    on = np.round(grid.times * FRAME_RATE).astype(int)
    beats = probabilities.sum(axis=1)
    assert np.median(beats[on]) > 3 * np.median(beats[on[:-1] + 13])
