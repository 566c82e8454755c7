import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.models import heard
from stage.models.events import TimeLine

LINE = TimeLine.musical(BeatGrid.regular(120, 4, 4.0), 4.0, 12)


def tone(pitch: float, seconds: float, start: float = 0.0, end: float = 9.0) -> np.ndarray:
    at = np.arange(round(seconds * heard.RATE)) / heard.RATE
    hz = 440 * 2 ** ((pitch - 69) / 12)
    return (0.3 * np.sin(2 * np.pi * hz * at) * ((at >= start) & (at < end))).astype(np.float32)


def test_pitch_classes_follow_the_chord():
    mix = sum(tone(p, 4.0, 0.0, 2.0) for p in (45, 57, 60, 64)) + sum(tone(p, 4.0, 2.0) for p in (41, 60, 65, 69))
    found = heard.measure(mix).at(LINE)
    assert found.shape == (96, heard.SIZE) and found.dtype == np.float32
    for frames, low, all_ in ((slice(10, 40), 9, {9, 0, 4}), (slice(58, 90), 5, {5, 9, 0})):
        assert (found[frames, :12].argmax(1) == low).all()
        assert all(set(row.argsort()[-3:]) == all_ for row in found[frames, 12:24])


def test_onsets_lie_in_their_frame_and_band():
    mix = np.zeros(4 * heard.RATE, np.float32)
    for pitch, seconds in ((40, (0.5, 1.25, 3.0)), (84, (0.8, 2.5))):
        for second in seconds:
            mix[round(second * heard.RATE) :][:3200] += tone(pitch, 0.1) * np.hanning(3200)
    found = heard.measure(mix).at(LINE)
    assert sorted(found[:, 24].argsort()[-3:]) == pytest.approx([12, 30, 72], abs=1)
    assert sorted(found[:, 26].argsort()[-2:]) == pytest.approx([19, 60], abs=1)
    assert found[24, 24] == 0 and found[60, 26] > 2 * found[60, 24]


def test_a_mix_that_is_slower_is_measured_at_its_own_moments():
    mix = tone(57, 5.0, 2.4)  # begins at second 2 of a line whose seconds last 1.2
    found = heard.measure(mix).at(LINE, 1.2)
    assert found[60:, 12 + 9].min() > 1 and found[:40, 12 + 9].max() < 0.1


def test_silence_and_short_sounds_are_measured():
    silence = heard.measure(np.zeros(heard.RATE, np.float32)).at(LINE)
    assert not silence[:, :28].any() and np.isfinite(silence).all()
    assert heard.measure(np.zeros(100, np.float32)).at(LINE).shape == (96, heard.SIZE)
