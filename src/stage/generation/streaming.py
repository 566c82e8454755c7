"""Sound while it is made: codes in, chunks of audio out at the song's rate, each as soon as it is certain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from stage import audio as sound
from stage.errors import StageError
from stage.generation.prepare import Prepared, target_level
from stage.generation.request import Request
from stage.generation.result import Accompaniment
from stage.models.codec import Codec, frame_rate

CHUNK_SECONDS = 0.5
"""The most that a chunk holds, by default."""

PLAIN_LUFS = -11.0
"""Loudness of a usual stem, in one channel, before its level is matched: the sketch model's are at -7 to -15 LUFS."""
PLAYED_LUFS = -22.0
"""The same of stems that sampled instruments play: drums are at -20 to -23 LUFS, the others at -22 to -27."""


class Stream(Iterator[np.ndarray]):
    """Chunks of V stems, float32 [V, n] at `rate`, as they are made; `Stage.stream` gives one. A model of events makes
    [V, C, n], C = `channels`.

    Nothing runs before the first chunk is asked for; then the beats are tracked (where they are wanted), the recording
    is encoded, and each chunk is made when it is asked for, so a slow reader is waited for. All chunks together are as
    long as the song. Use it in a `with`, or `close` it, to stop early: all memory of the model's is freed at once.

    request: what was asked for, complete. gain_db: of all chunks.
    """

    def __init__(
        self,
        request: Request,
        prepare: Callable[[], Prepared],
        chunks: Iterator[np.ndarray],
        gain_db: float,
        whole: Callable[[], Accompaniment],
        channels: int = 1,
    ):
        """prepare: gives the same result whenever it is called. chunks: a generator. whole: called when all chunks are
        there, gives the result. channels: of a stem."""
        self.request, self.gain_db, self.channels = request, gain_db, channels
        self._prepare, self._chunks, self._whole = prepare, chunks, whole
        self._taken = 0

    @property
    def song(self) -> np.ndarray:
        """What the stem is made for: float32 [C, N]."""
        return self.request.source.audio

    @property
    def rate(self) -> int:
        """Hz of the chunks."""
        return self.request.rate

    @property
    def samples(self) -> int:
        """Length of all chunks together."""
        return self.song.shape[1]

    @property
    def prepared(self) -> Prepared:
        """Contexts, beats and remarks; found when they, or the first chunk, are asked for."""
        return self._prepare()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> np.ndarray:
        chunk = next(self._chunks)
        self._taken += chunk.shape[-1]
        return chunk

    def finish(self, parts: Sequence[np.ndarray] = ()) -> Accompaniment:
        """What `Stage.accompany` returns, to the bit, when all chunks have been taken: it is made from the same codes
        once more, as a whole. parts: the chunks, which are not needed. Raises StageError before the stream's end."""
        if self._taken < self.samples:
            raise StageError("the stream has not come to its end: take all of its chunks first")
        return self._whole()

    def close(self) -> None:
        """Stop here. No more chunks come."""
        self._chunks.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def usual_gain(request: Request, plain: float = PLAIN_LUFS) -> float:
    """The gain in dB that brings a usual stem to the level that a request's stem is to have. plain: its loudness."""
    channels = min(2, len(request.source.audio))
    return target_level(request) - plain - 10 * float(np.log10(channels))


def gain(db: float) -> np.float32:
    """The factor of a gain in dB."""
    return np.float32(10 ** (db / 20))


def kept(parts: Iterator[torch.Tensor], whole: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The parts as they come; `whole` gets them too."""
    for part in parts:
        whole.append(part)
        yield part


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
    parts: Iterator[torch.Tensor], codec: Codec, device: torch.device, made_rate: float, rate: int, samples: int
) -> Iterator[np.ndarray]:
    """Sound of codes as they come.

    parts: int64 [V, K, n]. made_rate: Hz at which the codec's samples are taken (`Prepared.rate`).
    Yields float32 [V, m] at `rate`, m > 0, `samples` in all: what decoding all codes, cutting them to length and
    resampling them at once gives.
    """
    decoding, resampler = codec.stream(), None
    left = round(samples / rate * made_rate)

    def at_rate(made: torch.Tensor, last: bool = False) -> np.ndarray:
        nonlocal left, resampler
        audio = made.float().cpu().numpy()[:, :left]
        left -= audio.shape[1]
        if rate == made_rate:
            return audio
        resampler = resampler or sound.Resampler(made_rate, rate, len(audio))
        return resampler.push(audio, last)

    for part in parts:
        chunk = at_rate(decoding.push(part.to(device)))[:, :samples]
        samples -= chunk.shape[1]
        if chunk.shape[1]:
            yield chunk
    chunk = sound.fit(at_rate(decoding.finish(), last=True), samples)
    if chunk.shape[1]:
        yield chunk
