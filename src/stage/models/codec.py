"""Audio <-> codes: one interface for every codec, and chunking so that an hour of audio fits in memory."""

from __future__ import annotations

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

    def decode(self, codes: Tensor) -> Tensor:
        """codes: [B, K, T] int64 -> audio: [B, T * hop] float32."""
        ...


def frame_rate(codec: Codec) -> float:
    """Frames a second."""
    return codec.sample_rate / codec.hop


def encode_long(codec: Codec, audio: Tensor, chunk_seconds: float = 20.0) -> Tensor:
    """Encode audio [B, N] of any length, chunk by chunk. Returns codes [B, K, ceil(N / hop)].

    Each chunk is given the codec's margin on both sides, so the result is the one-shot result
    for codecs with a finite receptive field.
    """
    frames = -(-audio.shape[-1] // codec.hop)
    step = max(1, round(chunk_seconds * frame_rate(codec)))
    if frames <= step + 2 * codec.margin:
        return codec.encode(audio)
    parts = []
    for first in range(0, frames, step):
        left = max(0, first - codec.margin)
        last = min(frames, first + step)
        right = min(frames, last + codec.margin)
        codes = codec.encode(audio[..., left * codec.hop : right * codec.hop])
        parts.append(codes[..., first - left : last - left])
    return torch.cat(parts, dim=-1)


def decode_long(codec: Codec, codes: Tensor, chunk_seconds: float = 20.0) -> Tensor:
    """Decode codes [B, K, T] of any length, chunk by chunk. Returns audio [B, T * hop]."""
    frames = codes.shape[-1]
    step = max(1, round(chunk_seconds * frame_rate(codec)))
    if frames <= step + 2 * codec.margin:
        return codec.decode(codes)
    parts = []
    for first in range(0, frames, step):
        left = max(0, first - codec.margin)
        last = min(frames, first + step)
        right = min(frames, last + codec.margin)
        audio = codec.decode(codes[..., left:right])
        parts.append(audio[..., (first - left) * codec.hop : (last - left) * codec.hop])
    return torch.cat(parts, dim=-1)
