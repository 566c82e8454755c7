import numpy as np
import pytest

from stage.beats.bar_pointer import BarPointer


def activations(
    bpm: float, meter: int, seconds: float, start: float = 0.3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Clear but noisy probabilities [T, 2] of a steady beat, and the frames of the beats."""
    frames = np.round((start + np.arange(0, seconds - start, 60 / bpm)) * 50).astype(int)
    frames = frames[frames < seconds * 50 - 5]
    noise = np.random.default_rng(seed).uniform(0, 0.1, (round(seconds * 50), 2))
    for count, frame in enumerate(frames):
        noise[frame, 1 if count % meter == 0 else 0] = 0.8
    return noise, frames


@pytest.mark.parametrize("bpm", [62, 100, 137, 190])
@pytest.mark.parametrize("meter", [3, 4])
def test_finds_tempo_phase_and_metre(bpm, meter):
    probabilities, truth = activations(bpm, meter, 12)
    frames, numbers = BarPointer().decode(probabilities)
    played = (frames >= truth[0] - 4) & (frames <= truth[-1] + 4)
    frames, numbers = frames[played], numbers[played]
    assert len(frames) == len(truth) and np.abs(frames - truth).max() <= 4
    assert (numbers == np.arange(len(truth)) % meter + 1).all()


def test_bridges_a_break():
    probabilities, truth = activations(120, 4, 12)
    probabilities[250:350] = 0.02
    frames, _ = BarPointer().decode(probabilities)
    assert all(np.abs(frames - frame).min() <= 2 for frame in truth)


def test_follows_a_slow_change_of_tempo():
    times = np.cumsum(60 / np.linspace(100, 120, 24))
    probabilities = np.full((round(times[-1] * 50) + 5, 2), 0.02)
    probabilities[np.round(times * 50).astype(int), 0] = 0.8
    frames, _ = BarPointer(meters=(4,)).decode(probabilities)
    assert all(np.abs(frames / 50 - time).min() <= 0.05 for time in times)


def test_the_preference_for_a_tempo_decides_between_octaves():
    probabilities = np.full((600, 2), 0.02)
    probabilities[::18, 0] = 0.4
    slow, _ = BarPointer(centre_bpm=80, tempo_spread=0.1).decode(probabilities)
    fast, _ = BarPointer(centre_bpm=166, tempo_spread=0.1).decode(probabilities)
    assert np.median(np.diff(slow)) == 36 and np.median(np.diff(fast)) == 18


def test_nothing_to_decode():
    frames, numbers = BarPointer().decode(np.zeros((0, 2)))
    assert len(frames) == len(numbers) == 0
