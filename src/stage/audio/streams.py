"""Sound that comes in parts: resampled, limited, or run through any function of finite reach.

Each class keeps its own state. All parts that come out together are what the same function makes of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stage.audio.level import limit


class Resampler:
    """`stage.audio.resample` of a sound [C, N] that comes in parts: all parts together are the one-shot result."""

    def __init__(self, from_rate: float, to_rate: float, channels: int):
        import soxr

        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="HQ")

    def push(self, audio: np.ndarray, last: bool = False) -> np.ndarray:
        """The next part [C, n] -> what is certain now, float32 [C, m]. last: none will follow."""
        frames = np.ascontiguousarray(audio.T, np.float32)
        return np.ascontiguousarray(self._stream.resample_chunk(frames, last=last).reshape(-1, len(audio)).T)


class Sliding:
    """Runs a function of finite reach over frames as they come, each with all the neighbours that it depends on.

    Frames are the last axis of arrays or of tensors.
    run(window [..., w], start) -> [..., w * scale]: called with frames ``start`` to ``start + w`` of the whole.
    An output frame depends on the ``back`` frames before and the ``ahead`` frames after it. The ends of the whole are
    ends of a window too, so that padding there comes out as it does when the whole is run at once.
    """

    def __init__(self, run: Callable[[Any, int], Any], back: int, ahead: int, scale: int = 1):
        self.run, self.back, self.ahead, self.scale = run, back, ahead, scale
        self.window: Any = None
        self.start = self.done = 0  # frame where the window begins; frames that came out

    def push(self, frames: Any, last: bool = False) -> Any:
        """The next frames [..., n], or None where there are none -> [..., m * scale], or None for m = 0.

        last: none will follow.
        """
        if frames is not None:
            self.window = frames if self.window is None else _joined(self.window, frames)
        if self.window is None:
            return None
        known = self.start + self.window.shape[-1]
        end = known if last else known - self.ahead
        if end <= self.done:
            return None
        whole = self.run(self.window, self.start)
        out = whole[..., (self.done - self.start) * self.scale : (end - self.start) * self.scale]
        self.done = end
        keep = max(self.start, end - self.back)
        self.window, self.start = self.window[..., keep - self.start :], keep
        return out


def _joined(first: Any, second: Any) -> Any:
    """Two arrays, or two tensors, as one along their last axis."""
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second], axis=-1)
    import torch

    return torch.cat([first, second], dim=-1)


class Limiter:
    """`stage.audio.level.limit` of a sound that comes in parts; 20 ms late, as it looks that far ahead."""

    def __init__(self, rate: int):
        reach = 2 * round(0.01 * rate)
        self._sliding = Sliding(lambda window, start: limit(window, rate), reach, reach)

    def push(self, audio: np.ndarray, last: bool = False) -> np.ndarray:
        """The next part [C, n] -> what is certain now [C, m]. last: none will follow."""
        out = self._sliding.push(audio if audio.shape[1] else None, last)
        return audio[:, :0] if out is None else out
