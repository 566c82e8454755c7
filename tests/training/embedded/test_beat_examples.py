"""Mixes of spectra are what the features of the mixed sound would be."""

import numpy as np
import pytest
import torch

from stage.beats.beatnet import BANDS, RATE, features
from stage.beats.grid import BeatGrid, click_track
from stage.beats.tracker import PEAK
from stage.errors import StageError
from stage.training.embedded.beat_examples import Examples, with_rise
from stage.training.embedded.beat_views import BEAT, CLASSES, CLICKS, DOWNBEAT, NEITHER, labels, of_click
from stage.training.embedded.recipe import TrackerData
from stage.training.state import save_weights

PLAIN = TrackerData(clicks=0, drums=1, keep=1, eq_db=0, room=0, noise=0, gain_db=0)
ALL = TrackerData(clicks=0, drums=0.2, keep=0.6, eq_db=9, room=1, noise=1, stretch=0.2, bend=0.2, mask=1)
SECONDS = 12
GRID = BeatGrid.regular(100, 4, SECONDS, 0.3)


def stems() -> dict[str, np.ndarray]:
    """A metronome and a chord that swells."""
    time = np.arange(SECONDS * RATE) / RATE
    swell = 0.1 * (1 + np.sin(2 * np.pi * 0.4 * time)) * sum(np.sin(2 * np.pi * hz * time) for hz in (220, 277, 331))
    return {"drums": click_track(GRID, SECONDS, RATE), "pads": swell.astype(np.float32)}


@pytest.fixture
def folder(tmp_path):
    found = {name: torch.from_numpy(features(sound)[:, :BANDS]).half() for name, sound in stems().items()}
    frames = len(found["pads"])
    save_weights(tmp_path / "song.safetensors", {**found, CLASSES: labels(GRID, frames).half()})
    return tmp_path


def test_beat_labels_are_soft_and_add_up():
    found = labels(BeatGrid(np.array([0.0, 0.5, 1.0]), np.array([1, 2, 1])), 60)
    assert torch.allclose(found.sum(1), torch.ones(60))
    assert found[0, DOWNBEAT] == 1 and found[25, BEAT] == 1 and found[24, BEAT] == found[26, BEAT] == 0.5
    assert found[10, NEITHER] == 1 and found[50, DOWNBEAT] == 1


def test_a_plain_mix_has_the_features_of_its_sound(folder):
    mix = sum(stems().values())
    sound = features(mix * (PEAK / np.abs(mix).max()))
    examples = Examples(folder, PLAIN, 1)
    found, classes = examples.example(examples.files[0], len(sound), torch.Generator().manual_seed(0))
    level = np.polyfit(sound[:, :BANDS].ravel(), found[:, :BANDS].numpy().ravel(), 1)[0]
    assert 0.5 < level < 2  # a gain of up to 6 dB is always drawn
    assert np.corrcoef(sound[:, :BANDS].ravel(), found[:, :BANDS].ravel())[0, 1] > 0.98
    assert torch.equal(classes, labels(GRID, len(sound)))


def test_batches_are_drawn_anew_and_the_same_for_a_seed(folder):
    examples = Examples(folder, ALL, 1)
    spectra, classes = examples.batch(3, 4, 500)
    assert spectra.shape[:2] == classes.shape[:2] and 1600 < spectra.shape[0] * spectra.shape[1] < 2400
    assert spectra.isfinite().all() and spectra.min() >= 0
    assert torch.allclose(classes.sum(-1), torch.ones(classes.shape[:2]), atol=1e-3)
    again = Examples(folder, ALL, 1).batch(3, 4, 500)
    assert torch.equal(spectra, again[0]) and torch.equal(classes, again[1])
    shapes = {examples.batch(number, 4, 500)[0].shape for number in range(6)}
    assert len(shapes) > 2


def test_faster_and_slower_sound_has_its_beats_where_its_labels_are(tmp_path):
    save_weights(tmp_path / "click.safetensors", of_click(torch.Generator().manual_seed(1)))
    options = TrackerData(clicks=0, drums=1, keep=1, eq_db=0, room=0, noise=0, stretch=0.5)
    examples = Examples(tmp_path, options, 1)
    lengths = set()
    for seed in range(4):
        spectra, classes = examples.example(examples.files[0], 700, torch.Generator().manual_seed(seed))
        beats = 1 - classes[:, NEITHER]
        peaks = ((beats[1:-1] >= beats[:-2]) & (beats[1:-1] > beats[2:]) & (beats[1:-1] > 0.4)).nonzero()[:, 0] + 1
        rise = spectra[:, BANDS:].sum(1)
        near = torch.stack([rise[max(0, p - 2) : p + 3].max() for p in peaks[1:-1].tolist()])
        assert near.min() > 5 * rise.median()
        lengths.add(round(float(peaks.diff().float().median())))
    assert len(lengths) > 1


def test_the_rise_is_that_of_the_features():
    sound = features(stems()["drums"])
    assert np.allclose(with_rise(torch.from_numpy(sound[:, :BANDS])).numpy(), sound)


def test_a_metronome_has_beats_where_it_clicks():
    file = of_click(torch.Generator().manual_seed(4))
    loud = file[CLICKS].float().sum(1)
    beats = 1 - file[CLASSES][:, NEITHER].float()
    assert loud[beats == 1].mean() > 3 * loud[beats == 0].mean()


def test_nothing_and_damage_are_one_line(tmp_path):
    with pytest.raises(StageError, match="nothing in"):
        Examples(tmp_path, PLAIN, 1)
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(StageError, match="is damaged"):
        Examples(tmp_path, PLAIN, 1)
