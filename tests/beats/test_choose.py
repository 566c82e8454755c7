"""Which tracker is taken: Beat This! where it is installed, else our own; and the numbers of its beats."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from stage.beats import choose as trackers
from stage.errors import StageError


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A stand-in for the package with its interface, and a checkpoint."""
    made = {}

    class Audio2Beats:
        def __init__(self, checkpoint_path, device, dbn):
            made.update(path=checkpoint_path, dbn=dbn)

        def __call__(self, audio, rate):
            made.update(shape=audio.shape, rate=rate)
            return np.arange(0.2, 4, 0.5), np.array([0.7, 2.7])

    inference = ModuleType("beat_this.inference")
    inference.Audio2Beats = Audio2Beats
    whole = ModuleType("beat_this")
    whole.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec("beat_this", None)
    monkeypatch.setitem(sys.modules, "beat_this", whole)
    monkeypatch.setitem(sys.modules, "beat_this.inference", inference)
    (tmp_path / "final0.ckpt").touch()
    monkeypatch.setenv("STAGE_BEAT_THIS", str(tmp_path / "final0.ckpt"))
    clear = trackers.beat_this.cache_clear
    clear()
    yield made
    clear()


def test_beat_this_is_taken_where_it_is(package):
    name, track = trackers.choose()
    grid = track(np.zeros((2, 44100), np.float32), 44100)
    assert name == "beat-this" and package["dbn"] is False and package["shape"] == (44100,)
    assert grid.numbers.tolist() == [4, 1, 2, 3, 4, 1, 2, 3]
    assert trackers.choose("stage")[0] == "stage"


def test_without_its_weights_ours_is_taken(package, monkeypatch, tmp_path):
    monkeypatch.setenv("STAGE_BEAT_THIS", str(tmp_path / "nowhere"))
    assert trackers.choose()[0] == "stage"
    with pytest.raises(StageError, match="STAGE_BEAT_THIS"):
        trackers.choose("beat-this")
    with pytest.raises(StageError, match="auto, beat-this or stage"):
        trackers.choose("madmom")


def test_a_package_that_does_not_load_is_reported(package, monkeypatch):
    def broken(*_):
        raise ImportError("no torchaudio")

    monkeypatch.setattr(trackers, "beat_this", broken)
    assert trackers.choose()[0] == "stage"
    with pytest.raises(StageError, match="no torchaudio"):
        trackers.choose("beat-this")


def test_beats_without_downbeats_are_counted_in_four():
    grid = trackers.numbered(np.arange(6.0), np.zeros(0))
    assert grid.numbers.tolist() == [1, 2, 3, 4, 1, 2] and grid.beats_per_bar == 4
    assert len(trackers.numbered(np.zeros(0), np.zeros(0))) == 0


def test_no_checkpoint_no_beat_this(monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere")
    monkeypatch.delenv("STAGE_BEAT_THIS", raising=False)
    assert trackers.beat_this_weights() is None
