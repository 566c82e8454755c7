"""MP3 (MPEG audio, layers 1 to 3) as people have it: every frame is found, whatever the tags announce.

A file may have a Xing, Info or VBRI tag with a wrong count, or none; it may be two files in a row. So the frames
themselves are counted, and given to FFmpeg's decoder one by one. Where a tag states the encoder's delay and padding
(LAME's, which most encoders write), both are left out, so that the audio lies where it lay before it was encoded.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from stage.audio.headers import truncated
from stage.errors import StageError

DECODER_DELAY = 529
"""Samples by which a layer-3 decoder is late."""

WARM_UP = 30
"""Frames that are decoded before those that are wanted: a frame may use bytes of those before it."""

SEARCH = 2**17
"""Bytes at the beginning of a file in which its first frame must be found."""

ENCODERS = (b"LAME", b"L3.9", b"Lavf", b"Lavc", b"GOGO", b"Gogo")
"""Beginnings of the encoder's name in a tag whose delay and padding can be relied on."""

RATES = ((11025, 12000, 8000), None, (22050, 24000, 16000), (44100, 48000, 32000))  # MPEG 2.5, -, 2, 1
BITRATES = {
    (3, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # (3 for MPEG 1 or 2 for 2 and 2.5, layer bits: 3 for layer 1, 1 for layer 3) -> kbit/s
BITRATES[2, 1] = BITRATES[2, 2]


@dataclass(frozen=True)
class Segment:
    """Frames first .. last of a file that were encoded in one go, and which of their samples count: low .. high."""

    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True)
class Layout:
    """Every frame of an MP3. offsets, sizes: int64 [F], bytes; frame: samples in each; layer: 1 to 3."""

    rate: int
    channels: int
    layer: int
    frame: int
    offsets: np.ndarray
    sizes: np.ndarray
    segments: tuple[Segment, ...]
    truncated: bool

    @property
    def samples(self) -> int:
        """Length of the audio."""
        return sum(segment.high - segment.low for segment in self.segments)


def _headers() -> Mapping[int, tuple[tuple[int, int, int], int]]:
    """Second and third byte of a frame (protection bit set) -> ((version, layer, rate bits), bytes of the frame)."""
    found = {}
    for version in (0, 2, 3):
        for layer in (1, 2, 3):
            for bitrate in range(1, 15):
                for rate in range(3):
                    for padding in range(2):
                        bits = 1000 * BITRATES[3 if version == 3 else 2, layer][bitrate - 1]
                        hz = RATES[version][rate]
                        if layer == 3:
                            size = (12 * bits // hz + padding) * 4
                        else:
                            size = (72 if layer == 1 and version != 3 else 144) * bits // hz + padding
                        second = 0xE1 | version << 3 | layer << 1
                        third = bitrate << 4 | rate << 2 | padding << 1
                        found[second << 8 | third] = ((version, layer, rate), size)
    return found


HEADERS = _headers()


def _header(data: bytes, at: int) -> tuple[tuple[int, int, int], int] | None:
    """((version, layer, rate bits), bytes of the frame) of the frame at an offset; None where none begins."""
    if at + 4 > len(data) or data[at] != 0xFF:
        return None
    return HEADERS.get((data[at + 1] | 1) << 8 | data[at + 2] & 0xFE)


def scan(file: BinaryIO, name: str, offset: int, size: int) -> Layout | None:
    """The frames of MPEG audio in `size` bytes from `offset` on; None if it does not begin as such.

    Raises StageError that begins with `name` where the sampling rate changes on the way.
    """
    file.seek(offset)
    data = file.read(min(size, SEARCH))
    begin = _resync(data, 0, len(data) < size)
    if begin is None:
        return None
    data += file.read(size - len(data))
    end = _without_tags(data)
    key = _header(data, begin)[0]
    offsets, sizes, at = [], [], begin
    while at is not None and at < end:
        found = _header(data, at)
        if found is None or found[0] != key:
            at = _resync(data, at, False)
            if at is not None and _header(data, at)[0] != key:
                raise StageError(
                    f"{name} changes its sampling rate or format on the way: convert it to WAV or FLAC first"
                )
            continue
        if at + found[1] > end:
            break
        offsets.append(at)
        sizes.append(found[1])
        at += found[1]
    truncated = at is not None and at < end and (end - at >= 4 or data[at] == 0xFF)
    return _layout(data, key, offsets, sizes, truncated, offset)


def _resync(data: bytes, at: int, more: bool) -> int | None:
    """The next place at which three frames of one kind stand in a row, or as many as there are to the end.

    more: `data` is the beginning of something longer.
    """
    while (at := data.find(b"\xff", at)) >= 0:
        place, first, run = at, _header(data, at), 0
        while run < 3 and (found := _header(data, place)) and found[0] == first[0]:
            place, run = place + found[1], run + 1
        ended = run > 0 and not more and place >= _without_tags(data)
        if run == 3 or ended:
            return at
        at += 1
    return None


def _without_tags(data: bytes) -> int:
    """Where the tags at the end of a file begin: ID3v1, APE and Lyrics3."""
    end = len(data)
    while True:
        if data[end - 128 : end - 125] == b"TAG" and end >= 128:
            end -= 128
        elif data[end - 32 : end - 24] == b"APETAGEX" and end >= 32:
            size, _, flags = struct.unpack("<III", data[end - 20 : end - 8])
            size += 32 if flags >> 31 else 0
            if not 32 <= size <= end:
                return end
            end -= size
        elif data[end - 9 : end] == b"LYRICS200" and data[end - 15 : end - 9].isdigit():
            size = int(data[end - 15 : end - 9]) + 15
            if size > end:
                return end
            end -= size
        elif data[end - 227 : end - 223] == b"TAG+" and end >= 227:
            end -= 227
        else:
            return end


def _layout(data: bytes, key: tuple[int, int, int], offsets: list, sizes: list, cut: bool, base: int) -> Layout | None:
    """The frames that hold audio, in segments that begin with a tag."""
    version, bits, rate = key
    layer = 4 - bits
    frame = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    channels = max((1 if data[at + 3] >> 6 == 3 else 2 for at in offsets), default=1)
    kept, segments, begin, tag = [], [], 0, None
    for number, at in enumerate(offsets):
        found = _tag(data, at, sizes[number], version) if layer == 3 else None
        if found is None:
            kept.append(number)
            continue
        if len(kept) > begin:
            segments.append(_segment(begin, len(kept), frame, tag))
        begin, tag = len(kept), found
    if len(kept) > begin:
        segments.append(_segment(begin, len(kept), frame, tag))
    if tag and len(kept) > begin:
        cut = cut or _announces_more(tag, len(kept) - begin, len(data) - tag.at)
    if not kept:
        return None
    return Layout(
        RATES[version][rate],
        channels,
        layer,
        frame,
        base + np.array(offsets, np.int64)[kept],
        np.array(sizes, np.int64)[kept],
        tuple(segments),
        cut,
    )


@dataclass(frozen=True)
class _Tag:
    """What a Xing, Info or VBRI tag at byte `at` announces; 0 where it does not. cuts: delay and padding in samples."""

    at: int
    frames: int = 0
    size: int = 0
    cuts: tuple[int, int] | None = None


def _tag(data: bytes, at: int, size: int, version: int) -> _Tag | None:
    """The tag in the frame at an offset, if there is one."""
    mono = data[at + 3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    frame = data[at : at + size]
    for place in (4 + side, 6 + side):  # some leave room for a checksum
        if frame[place : place + 4] in (b"Xing", b"Info"):
            return _xing(at, frame[place + 4 :])
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        total, frames = struct.unpack(">II", frame[46:54])
        return _Tag(at, frames, total)
    return None


def _xing(at: int, body: bytes) -> _Tag:
    """The fields behind the name of a Xing or Info tag."""
    flags, place, values = int.from_bytes(body[:4], "big"), 4, {}
    for bit, length in ((1, 4), (2, 4), (4, 100), (8, 4)):
        if flags & bit:
            values[bit] = int.from_bytes(body[place : place + length], "big") if length == 4 else 0
            place += length
    cuts = None
    if len(body) >= place + 24 and body[place : place + 4] in ENCODERS:
        both = int.from_bytes(body[place + 21 : place + 24], "big")
        cuts = both >> 12, both & 0xFFF
    return _Tag(at, values.get(1, 0), values.get(2, 0), cuts)


def _segment(first: int, last: int, frame: int, tag: _Tag | None) -> Segment:
    """A segment without the delay and the padding that its tag states; without a tag all of its samples count."""
    total = (last - first) * frame
    low, high = 0, total
    if tag and tag.cuts:
        low, high = tag.cuts[0] + DECODER_DELAY, min(total, total + DECODER_DELAY - tag.cuts[1])
    return Segment(first, last, low, high) if low < high else Segment(first, last, 0, total)


def _announces_more(tag: _Tag, frames: int, size: int) -> bool:
    """Whether frames are missing at the end: both numbers of the tag exceed what is there, or the only one by far."""
    few = tag.frames > 1.01 * frames + 2
    if tag.size:
        return few and tag.size > 1.01 * size
    return few and tag.frames > 1.25 * frames


class Mp3:
    """Decoder of the frames of a `Layout`; see `stage.audio.decoders.Decoder`."""

    def __init__(self, file: BinaryIO, name: str, layout: Layout):
        self.file, self.name, self.layout = file, name, layout
        self.rate, self.channels, self.samples = layout.rate, layout.channels, layout.samples
        self.length = math.inf if layout.truncated else self.samples / self.rate

    def count(self) -> int:
        """Samples in all. Raises StageError if the file is cut off."""
        if self.layout.truncated:
            raise truncated(self.name, self.samples / self.rate)
        return self.samples

    def read(self, first: int, last: int | None) -> np.ndarray:
        """See `Decoder`."""
        if self.layout.truncated and (last is None or last > self.samples):
            raise truncated(self.name, self.samples / self.rate)
        last = self.samples if last is None else min(last, self.samples)
        out = np.zeros((self.channels, max(0, last - first)), np.float32)
        begin = 0  # of the segment in the audio
        for segment in self.layout.segments:
            end = begin + segment.high - segment.low
            low, high = max(first, begin), min(last, end)
            if low < high:
                shift = segment.low - begin
                out[:, low - first : high - first] = self._segment(segment, low + shift, high + shift)
            begin = end
        return out

    def _segment(self, segment: Segment, low: int, high: int) -> np.ndarray:
        """Decoded samples low .. high of a segment, counted from its first frame: float32 [C, high - low]."""
        import av

        layout = self.layout
        start = max(0, low // layout.frame - WARM_UP)
        stop = min(segment.last - segment.first, -(-high // layout.frame))
        decoder = av.CodecContext.create(f"mp{layout.layer}float", "r")
        out = np.zeros((self.channels, (stop - start) * layout.frame), np.float32)
        for number in range(start, stop):
            index = segment.first + number
            self.file.seek(int(layout.offsets[index]))
            at = (number - start) * layout.frame
            try:
                frames = decoder.decode(av.Packet(self.file.read(int(layout.sizes[index]))))
            except (av.FFmpegError, ValueError):
                continue  # a damaged frame stays silent, so that what follows is in its place
            for frame in frames:
                block = frame.to_ndarray()[:, : layout.frame]
                out[:, at : at + block.shape[1]] = block
                at += layout.frame
        return out[:, low - start * layout.frame : high - start * layout.frame]

    def close(self) -> None:
        """Nothing is held."""
