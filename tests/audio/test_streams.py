"""Sound in parts: what comes out together is what the whole gives."""

import numpy as np
import pytest
import torch

from stage import audio as sound
from stage.audio.level import limit
from stage.audio.streams import Limiter, Sliding


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_sliding_keeps_what_is_needed_and_no_more(kind):
    seen = []
    sliding = Sliding(lambda window, start: seen.append((start, window.shape[-1])) or window, back=3, ahead=2)
    frames = kind(np.arange(50.0)[None, None])
    parts = [sliding.push(frames[..., i : i + 5]) for i in range(0, 50, 5)] + [sliding.push(None, last=True)]
    assert np.array_equal(np.concatenate(parts, axis=-1), frames)
    assert seen[0] == (0, 5) and seen[1:-1] == [(i - 5, 10) for i in range(5, 50, 5)] and seen[-1] == (45, 5)
    assert sliding.push(None, last=True) is None


@pytest.mark.parametrize("to", [44100, 48000, 22050, 192000, 8000, 32001])
@pytest.mark.parametrize("channels", [1, 3])
def test_resampling_in_parts(to, channels):
    audio = np.random.default_rng(0).normal(0, 0.1, (channels, 70011)).astype(np.float32)
    resampler = sound.Resampler(32000, to, channels)
    parts = [resampler.push(audio[:, at : at + 5000]) for at in range(0, 70011, 5000)]
    parts += [resampler.push(audio[:, :0]), resampler.push(audio[:, :0], last=True)]
    whole = sound.resample(audio, 32000, to)
    assert np.concatenate(parts, axis=1).shape == whole.shape
    assert np.abs(np.concatenate(parts, axis=1) - whole).max() < 1e-6


@pytest.mark.parametrize("sizes", [[50], [1] * 50, [20, 7, 23]])
def test_limiting_in_parts(sizes):
    audio_ = np.random.default_rng(0).normal(0, 0.5, (2, 441 * 50)).astype(np.float32)
    limiter, at, parts = Limiter(44100), 0, []
    for size in sizes:
        parts.append(limiter.push(audio_[:, at : at + 441 * size]))
        at += 441 * size
    parts.append(limiter.push(audio_[:, :0], last=True))
    assert np.abs(np.concatenate(parts, axis=1) - limit(audio_, 44100)).max() < 1e-6
