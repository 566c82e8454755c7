"""Audio <-> codes: one interface for every codec, chunking so that an hour of audio fits in memory, and sound as codes
come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from stage.audio.streams import Sliding


class Codec(Protocol):
    """A neural codec: mono audio to ``codebooks`` parallel streams of codes and back."""

    sample_rate: int  # Hz
    hop: int  # samples in a frame
    codebooks: int  # K
    codebook_size: int  # codes are 0 .. codebook_size - 1
    margin: int  # frames of context on either side that an exact frame needs
    look_ahead: int  # frames after a frame that must be known before it can be decoded
    recurrent: bool  # a decoded frame depends on all frames before it, so that no margin is exact

    def encode(self, audio: Tensor) -> Tensor:
        """audio: [B, N] float32, -1..1 -> codes: [B, K, ceil(N / hop)] int64."""
        ...

    def decode(self, codes: Tensor, start: int = 0) -> Tensor:
        """codes: [B, K, T] int64 -> audio: [B, T * hop] float32.

        start: frames of the same sound before these, for codecs whose phases run on.
        """
        ...

    def stream(self) -> DecodeStream:
        """A decoder's state for one sound, whose codes are pushed as they come."""
        ...


class DecodeStream(Protocol):
    """Codes in, sound out as early as it is certain; all parts together are what ``decode`` makes of all codes.

    What has been pushed and is not returned yet is the codec's look-ahead. The state is the object's own: drop it to
    stop.
    """

    def push(self, codes: Tensor) -> Tensor:
        """codes: [B, K, n] int64, the next frames -> audio [B, m * hop] float32, m frames that are certain now (0 or
        more)."""
        ...

    def finish(self) -> Tensor:
        """The sound ends with what was pushed -> audio [B, m * hop] float32, the frames of its look-ahead."""
        ...


class SlidingDecode:
    """``DecodeStream`` of a codec whose frames depend on ``look_ahead`` frames on either side and on nothing else."""

    def __init__(self, codec: Codec):
        self.sliding = Sliding(codec.decode, codec.look_ahead, codec.look_ahead, codec.hop)

    @torch.inference_mode()
    def push(self, codes: Tensor) -> Tensor:
        """See ``DecodeStream``."""
        return _or_nothing(self.sliding.push(codes), codes)

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """See ``DecodeStream``."""
        return _or_nothing(self.sliding.push(None, last=True), self.sliding.window)


def _or_nothing(audio: Tensor | None, like: Tensor | None) -> Tensor:
    """audio [B, N], or no samples of as many rows as there are codes."""
    if audio is not None:
        return audio
    return torch.zeros(0 if like is None else len(like), 0, device=None if like is None else like.device)


RECURRENT_SECONDS = 1.0
"""Of a chunk that a recurrent codec decodes at a time."""


def frame_rate(codec: Codec) -> float:
    """Frames a second."""
    return codec.sample_rate / codec.hop


def _chunks(codec: Codec, frames: int, seconds: float) -> Iterator[tuple[int, int, int, int]]:
    """Frames (left, first, last, right): each chunk first..last with the codec's margin around it, left..right."""
    step = max(1, round(seconds * frame_rate(codec)))
    if frames <= step + 2 * codec.margin:
        step = max(1, frames)  # margins would cost more than a chunk saves
    for first in range(0, max(1, frames), step):
        last = min(frames, first + step)
        yield max(0, first - codec.margin), first, last, min(frames, last + codec.margin)


def encode_long(codec: Codec, audio: Tensor, chunk_seconds: float = 20.0) -> Tensor:
    """Encode audio [B, N] of any length, chunk by chunk. Returns codes [B, K, ceil(N / hop)].

    Each chunk is given the codec's margin on both sides, so the result is the one-shot result
    for codecs with a finite receptive field.
    """
    parts = []
    for left, first, last, right in _chunks(codec, -(-audio.shape[-1] // codec.hop), chunk_seconds):
        codes = codec.encode(audio[..., left * codec.hop : right * codec.hop])
        parts.append(codes[..., first - left : last - left])
    return torch.cat(parts, dim=-1)


def decode_long(codec: Codec, codes: Tensor, chunk_seconds: float = 20.0) -> Tensor:
    """Decode codes [B, K, T] of any length, chunk by chunk. Returns audio [B, T * hop], the one-shot result."""
    parts = []
    if codec.recurrent:  # goes on where it was, so that small chunks cost little, and save much memory
        decoding = codec.stream()
        parts = [decoding.push(part) for part in codes.split(round(RECURRENT_SECONDS * frame_rate(codec)), dim=-1)]
        return torch.cat([*parts, decoding.finish()], dim=-1)
    for left, first, last, right in _chunks(codec, codes.shape[-1], chunk_seconds):
        audio = codec.decode(codes[..., left:right], left)
        parts.append(audio[..., (first - left) * codec.hop : (last - left) * codec.hop])
    return torch.cat(parts, dim=-1)
