"""Sound while it is made: codes in, chunks of audio out at the song's rate, each as soon as it is certain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from stage import audio as sound
from stage.beats.grid import BeatGrid
from stage.models.codec import Codec, frame_rate

CHUNK_SECONDS = 0.5
"""The most that a chunk holds, by default."""

PLAIN_LUFS = -11.0
"""What a stem usually sounds like before its level is matched: the embedded model's are from -7 to -15 LUFS."""


@dataclass
class Heard:
    """What was found in the recording: filled in when the first chunk is asked for.

    contexts: kind -> mono float32 [N] at the codec's rate. grid: the beats that the model was given, None if none.
    notes: sentences about what was done otherwise than asked.
    """

    contexts: dict[str, np.ndarray] = field(default_factory=dict)
    grid: BeatGrid | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """A stem that is to be played: what is known before anything is listened to.

    stem, prompt: as asked. song: float32 [C, N] at `rate` Hz. seeds: one for each variation.
    target: measures the loudness in LUFS that the stem is to have. listen: finds the contexts; may track beats.
    """

    stem: str
    prompt: str
    song: np.ndarray
    rate: int
    seeds: tuple[int, ...]
    target: Callable[[], float]
    listen: Callable[[], Heard]


class Stream(Iterator[np.ndarray]):
    """Chunks of V stems, float32 [V, n] at `rate`, as they are made; `Stage.stream` gives one.

    Nothing runs before the first chunk is asked for; then the beats are tracked (where they are wanted), the recording
    is
    encoded, and each chunk is made when it is asked for, so a slow reader is waited for. All chunks together are as
    long as
    the song. Use it in a `with`, or `close` it, to stop early: everything that the model keeps is freed at once.

    order: what was asked. heard: what was found in the recording, empty until the first chunk. gain_db: of all chunks.
    """

    def __init__(self, order: Order, heard: Heard, chunks: Iterator[np.ndarray], gain_db: float):
        self.order, self.heard, self.gain_db = order, heard, gain_db
        self._chunks = chunks

    @property
    def rate(self) -> int:
        """Hz of the chunks."""
        return self.order.rate

    @property
    def samples(self) -> int:
        """Length of all chunks together."""
        return self.order.song.shape[1]

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> np.ndarray:
        return next(self._chunks)

    def close(self) -> None:
        """Stop here. No more chunks come."""
        self._chunks.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def sizes(codec: Codec, most: float) -> Iterator[int]:
    """Frames for each part: as few as can be at first, then twice as many each time, at most `most` seconds.

    The first gives two frames of sound: a resampler keeps some of it, and a player is to have enough until the next
    comes.
    """
    size, limit = 2, max(1, round(most * frame_rate(codec)))
    yield codec.look_ahead + min(size, limit)
    while True:
        yield min(size, limit)
        size *= 2


def chunks(
    parts: Iterator[torch.Tensor], codec: Codec, device: torch.device, rate: int, samples: int
) -> Iterator[np.ndarray]:
    """Sound of codes as they come.

    parts: int64 [V, K, n]. Yields float32 [V, m] at `rate`, m > 0, `samples` in all: what decoding all codes,
    cutting them to length and resampling them at once gives.
    """
    decoding, resampler = codec.stream(), None
    left = round(samples / rate * codec.sample_rate)

    def at_rate(made: torch.Tensor, last: bool = False) -> np.ndarray:
        nonlocal left, resampler
        audio = made.float().cpu().numpy()[:, :left]
        left -= audio.shape[1]
        if rate == codec.sample_rate:
            return audio
        resampler = resampler or sound.Resampler(codec.sample_rate, rate, len(audio))
        return resampler.push(audio, last)

    for part in parts:
        chunk = at_rate(decoding.push(part.to(device)))[:, :samples]
        samples -= chunk.shape[1]
        if chunk.shape[1]:
            yield chunk
    chunk = sound.fit(at_rate(decoding.finish(), last=True), samples)
    if chunk.shape[1]:
        yield chunk
