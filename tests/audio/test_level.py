"""Loudness after the standard, limiting without clipping, mixing."""

import numpy as np
import pytest

from stage.audio import level


def tone(seconds=1.0, rate=44100, channels=2, hz=440.0, peak=0.5):
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([peak * np.sin(2 * np.pi * hz * (c + 1) * time) for c in range(channels)]).astype(np.float32)


@pytest.mark.parametrize("rate", [32000, 44100, 48000])
def test_loudness_of_the_standards_test_tone(rate):
    # BS.1770: a 997 Hz sine at full scale in one channel measures -3.01 LUFS.
    time = np.arange(rate * 5) / rate
    sine = np.sin(2 * np.pi * 997 * time)
    assert level.loudness(sine, rate) == pytest.approx(-3.01, abs=0.05)
    assert level.loudness(np.stack([sine, sine]), rate) == pytest.approx(0.0, abs=0.05)
    gated = np.concatenate([sine, np.zeros(rate * 20)])
    assert level.loudness(gated, rate) == pytest.approx(-3.01, abs=0.2)
    assert level.loudness(np.zeros(rate), rate) == float("-inf")
    assert np.isfinite(level.loudness(sine[:100], rate))


def test_loudness_is_the_same_minute_by_minute():
    noise = np.random.default_rng(0).normal(0, 0.1, 8000 * 150).astype(np.float32)
    halves = [level.loudness(part, 8000) for part in (noise, noise[: 8000 * 50])]
    assert halves[0] == pytest.approx(halves[1], abs=0.1)


def test_match_level_reaches_the_target_within_bounds():
    quiet = tone(2, channels=1, peak=0.05)
    assert level.loudness(level.match_level(quiet, 44100, -18.0), 44100) == pytest.approx(-18, abs=0.05)
    assert np.abs(level.match_level(quiet * 1e-3, 44100, -10.0, most_db=6)).max() < 1.1e-4
    assert level.loudness(level.match_level(quiet, 44100, -60.0), 44100) == pytest.approx(-60, abs=0.1)  # down: any
    assert not level.match_level(np.zeros(1000, np.float32), 44100, -10.0).any()


def test_limit_holds_the_ceiling_and_leaves_the_rest():
    song = tone(2, peak=0.3)
    song[:, 40000:40040] *= 5
    limited = level.limit(song, 44100)
    assert np.abs(limited).max() <= level.CEILING
    assert np.array_equal(limited[:, :38000], song[:, :38000]) and np.array_equal(limited[:, 42500:], song[:, 42500:])
    # The gain moves slowly: no step between neighbours as clipping would make.
    gain = limited[0, 39000:41000] / np.where(song[0, 39000:41000] == 0, 1, song[0, 39000:41000])
    assert np.abs(np.diff(gain[np.abs(song[0, 39000:41000]) > 0.05])).max() < 0.02
    for edge in (np.array([3.0, 0.1, 0.1]), np.full(10, 2.0)):
        assert np.abs(level.limit(edge, 44100)).max() <= level.CEILING


def test_limit_is_the_same_block_by_block(monkeypatch):
    loud = np.random.default_rng(3).normal(0, 0.6, (2, 50_000)).astype(np.float32)
    whole = level.limit(loud, 8000)
    monkeypatch.setattr(level, "BLOCK", 700)
    assert np.allclose(level.limit(loud, 8000), whole, atol=1e-6) and np.abs(whole).max() <= level.CEILING


def test_a_mix_is_one_gain_times_song_and_stem():
    song, stem = tone(1, channels=6, peak=0.9), tone(1, channels=1, peak=0.9)[0]
    both, gain_db = level.mix(song, stem), level.mix_gain(song, stem)
    assert both.shape == song.shape and np.abs(both).max() == pytest.approx(level.CEILING, abs=1e-6)
    assert np.allclose(both[0], 10 ** (gain_db / 20) * (song[0] + stem), atol=1e-6)
    assert np.allclose(both[2:], 10 ** (gain_db / 20) * song[2:], atol=1e-6)
    quiet = level.mix(song * 0.1, stem * 0.1)
    assert level.mix_gain(song * 0.1, stem * 0.1) == 0
    assert np.array_equal(quiet[2:], song[2:] * np.float32(0.1)) and np.allclose(quiet[0], 0.1 * (song[0] + stem))
    one = level.mix(song[:1] * 0.1, stem * 0.1)
    assert one.shape == (1, 44100) and np.allclose(one[0], quiet[0])


def test_a_stem_is_measured_as_it_sounds_in_the_song():
    stem = tone(2, channels=1, peak=0.05)[0]
    in_one, in_two = (level.match_level(stem, 44100, -18.0, channels=channels) for channels in (1, 6))
    assert level.loudness(in_one, 44100) == pytest.approx(-18, abs=0.05)
    assert level.loudness(np.stack([in_two, in_two]), 44100) == pytest.approx(-18, abs=0.05)
    assert level.spread(stem, 6).shape == (2, len(stem)) and level.spread(stem, 1).shape == (1, len(stem))


def test_stems_of_two_channels_are_mixed_channel_by_channel():
    song = tone(1, channels=6, peak=0.5)
    stem = np.stack([tone(1, channels=1, peak=0.4)[0], tone(1, channels=1, peak=0.1)[0]])
    both = level.mix(song, stem)
    assert np.allclose(both[:2], song[:2] + stem, atol=1e-6) and np.array_equal(both[2:], song[2:])
    loud = level.mix(song * 2, stem)
    gain_db = level.mix_gain(song * 2, stem)
    assert gain_db < 0 and np.allclose(loud[:2], 10 ** (gain_db / 20) * (2 * song[:2] + stem), atol=1e-6)
    assert np.allclose(level.mix(song[:1], stem), song[:1] + stem.mean(0), atol=1e-6)
    assert np.allclose(level.mix(song[:2], stem[:1]), song[:2] + stem[:1], atol=1e-6)
    matched = level.match_level(stem, 44100, -20.0, channels=2)
    assert level.loudness(matched, 44100) == pytest.approx(-20, abs=0.05)
    one = level.match_level(stem[:1], 44100, -20.0, channels=2)
    assert level.loudness(np.concatenate([one, one]), 44100) == pytest.approx(-20, abs=0.05)


def test_the_limiters_gain_is_the_one_that_it_gives(monkeypatch):
    monkeypatch.setattr(level, "BLOCK", 5000)
    loud = np.random.default_rng(4).normal(0, 0.6, (2, 20_000)).astype(np.float32)
    gain = level.limiter_gain(loud, 8000)
    assert gain.shape == (20_000,) and gain.min() < 0.9
    assert np.allclose(loud * gain, level.limit(loud, 8000), atol=1e-6)
    assert (level.limiter_gain(0.1 * loud, 8000) == 1).all()
