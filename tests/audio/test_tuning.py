import time

import numpy as np
import pytest

from stage.audio.tuning import Tuning, estimate

RATE = 22050


def chords(cents: float, seconds: float = 8.0, a4: float = 440.0) -> np.ndarray:
    """Four chords of plucked notes with eight partials each, `cents` sharp of `a4`."""
    age = np.arange(RATE) / RATE
    x = np.zeros((round(seconds), RATE))
    for chord, notes in zip(x, [(45, 57, 60, 64), (41, 57, 60, 65), (48, 55, 64, 67)] * 9):
        for note in notes:
            hz = a4 * 2 ** ((note - 69 + cents / 100) / 12)
            for partial in range(1, 9):
                chord += np.exp(-3 * age) * np.sin(2 * np.pi * partial * hz * age) / partial
    return (0.1 * x.ravel()).astype(np.float32)


@pytest.mark.parametrize("cents", [-45, -30, -20, 0, 8, 20, 30, 45])
def test_tuning_is_found_to_two_cents(cents):
    found = estimate(chords(cents), RATE)
    assert found.cents == pytest.approx(cents, abs=2)
    assert found.confidence > 0.5 and found.is_off == (abs(cents) >= 10)


def test_half_a_semitone_is_sharp_or_flat():
    assert abs(estimate(chords(50), RATE).cents) > 48


def test_baroque_pitch_is_a_semitone_flat_and_five_cents_sharp():
    """415 Hz is 101.3 cents below 440: on the notes' grid again, a semitone lower."""
    found = estimate(chords(0, a4=415.0), RATE)
    assert found.cents == pytest.approx(-1.3, abs=2) and not found.is_off


def test_channels_level_and_rate_do_not_matter():
    mono = chords(25)
    plain = estimate(mono, RATE).cents
    assert estimate(np.stack([0.01 * mono, 0.03 * mono]), RATE).cents == pytest.approx(plain, abs=0.5)
    twice = np.interp(np.arange(2 * len(mono)) / 2, np.arange(len(mono)), mono).astype(np.float32)
    assert estimate(twice, 2 * RATE).cents == pytest.approx(plain, abs=0.5)


def drum_hits(seconds: float = 8.0) -> np.ndarray:
    """Kick, snare and hat as drum synths make them: falling sines and noise, on no scale."""
    draws = np.random.default_rng(0)
    age = np.arange(round(0.25 * RATE)) / RATE
    noise = draws.standard_normal(len(age))
    kick = np.exp(-age / 0.08) * np.sin(2 * np.pi * (55 * age + 4 * (1 - np.exp(-age / 0.03))))
    snare = np.exp(-age / 0.05) * (np.sin(2 * np.pi * 187 * age) + noise)
    hat = 0.3 * np.exp(-age / 0.02) * np.diff(noise, prepend=0)
    return np.tile(np.concatenate([kick, hat, snare, hat]), round(seconds)).astype(np.float32)[: round(seconds * RATE)]


@pytest.mark.parametrize(
    "audio",
    [
        drum_hits(),
        np.random.default_rng(1).standard_normal(8 * RATE).astype(np.float32),
        np.zeros(8 * RATE, np.float32),
        np.zeros((2, 0), np.float32),
        np.ones(100, np.float32),
        np.sin(2 * np.pi * 329.6 * np.arange(8 * RATE) / RATE).astype(np.float32),
        np.full(8 * RATE, np.nan, np.float32),
    ],
    ids=["drums", "noise", "silence", "empty", "short", "one note", "nan"],
)
def test_what_has_no_scale_has_no_confidence(audio):
    found = estimate(audio, RATE)
    assert found.confidence < 0.15 and not found.is_off and np.isfinite(found.cents)


def test_thirty_seconds_take_a_fraction_of_a_second():
    audio = np.tile(chords(10), 4)[: 30 * RATE]
    estimate(audio, RATE)
    begun = time.process_time()
    estimate(audio, RATE)
    assert time.process_time() - begun < 0.2


def test_is_off_needs_both_trust_and_a_noticeable_deviation():
    assert Tuning(30.0, 0.6).is_off and Tuning(-30.0, 0.6).is_off
    assert not Tuning(30.0, 0.1).is_off and not Tuning(5.0, 0.9).is_off
