"""Where a stem is turned down: found in samples, the same whatever the parts it is applied in."""

import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.generation import envelope as shapes
from stage.generation.envelope import BAR_FADE, FADE, Envelope, end_fade, envelope, silences


def test_silences_are_found_to_the_sample():
    song = np.ones((2, 100), np.float32)
    song[:, 10:30] = 0
    song[0, 50:90] = 0  # one channel alone is not silence
    song[:, 95:] = 5e-5  # dither
    assert silences(song, 10, 1.0) == [(10, 30)] and silences(song, 10, 0.4) == [(10, 30), (95, 100)]
    assert silences(np.zeros((1, 50), np.float32), 10, 1.0) == [(0, 50)]


def test_an_envelope_in_parts_is_the_envelope(monkeypatch):
    monkeypatch.setattr(shapes, "BLOCK", 700)
    shape = envelope(20000, 1000, [(0, 3000), (5000, 9000), (12000, 12500)], FADE)
    audio = np.random.default_rng(0).normal(0, 1, (2, 20000)).astype(np.float32)
    whole = shape.apply(audio)
    parts = [shape.apply(audio[:, first : first + 1234], first) for first in range(0, 20000, 1234)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert not whole[:, :2970].any() and not whole[:, 5060:8970].any() and abs(whole[0, -1]) < 1e-3 * abs(audio[0, -1])
    for untouched in (slice(2990, 5000), slice(8990, 12000), slice(12500, 19940)):
        assert np.array_equal(whole[:, untouched], audio[:, untouched])
    assert Envelope().apply(audio) is audio


@pytest.mark.parametrize(
    "seconds, fade", [(8.0, BAR_FADE), (8.02, BAR_FADE), (7.98, BAR_FADE), (8.1, FADE), (7.5, FADE), (4.0, BAR_FADE)]
)
def test_only_an_end_within_a_bar_is_faded(seconds, fade):
    grid = BeatGrid.regular(120, 4, seconds)
    assert end_fade(grid, seconds) == fade and end_fade(None, seconds) == FADE
