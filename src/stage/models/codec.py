"""Audio <-> codes: one interface for every codec, and chunking so that an hour of audio fits in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor


class Codec(Protocol):
    """A neural codec: mono audio to ``codebooks`` parallel streams of codes and back."""

    sample_rate: int  # Hz
    hop: int  # samples in a frame
    codebooks: int  # K
    codebook_size: int  # codes are 0 .. codebook_size - 1
    margin: int  # frames of context on either side that an exact frame needs

    def encode(self, audio: Tensor) -> Tensor:
        """audio: [B, N] float32, -1..1 -> codes: [B, K, ceil(N / hop)] int64."""
        ...

    def decode(self, codes: Tensor, start: int = 0) -> Tensor:
        """codes: [B, K, T] int64 -> audio: [B, T * hop] float32.

        start: frames of the same sound before these, for codecs whose phases run on.
        """
        ...


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
    """Decode codes [B, K, T] of any length, chunk by chunk. Returns audio [B, T * hop]."""
    parts = []
    for left, first, last, right in _chunks(codec, codes.shape[-1], chunk_seconds):
        audio = codec.decode(codes[..., left:right], left)
        parts.append(audio[..., (first - left) * codec.hop : (last - left) * codec.hop])
    return torch.cat(parts, dim=-1)
