"""What stands in front of the samples: tags, announced sizes, and sizes that a writer into a pipe could not fill in.

Only headers are read here; `stage.audio.decoders` decodes. Files are binary and can seek.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from stage.errors import StageError

CHUNKS_MOST = 10_000
"""Chunks of a file that are looked at; more stand in no recording."""

MPEG_TAGS = (0x50, 0x55)
"""Format tags of a WAV that holds MPEG audio of layers 1 and 2, and of layer 3."""


class Part(io.RawIOBase):
    """A stretch of an open binary file as a file of its own, for reading.

    patches: offset in the stretch -> bytes that are read there in place of the file's own.
    """

    def __init__(self, file: Any, offset: int, size: int, patches: Mapping[int, bytes] | None = None):
        self.file, self.offset, self.size, self.place = file, offset, size, 0
        self.patches = dict(patches or {})

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any file."""
        self.place = max(0, offset + (0, self.place, self.size)[whence])
        return self.place

    def tell(self) -> int:
        """As of any file."""
        return self.place

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes of what is left of the stretch."""
        left = max(0, self.size - self.place)
        self.file.seek(self.offset + self.place)
        found = self.file.read(left if count is None or count < 0 else min(count, left))
        for at, patch in self.patches.items():
            low, high = max(at, self.place), min(at + len(patch), self.place + len(found))
            if low < high:
                found = found[: low - self.place] + patch[low - at : high - at] + found[high - self.place :]
        self.place += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; returns how many bytes there were."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True


@dataclass(frozen=True)
class Header:
    """Where the audio of a file lies, and how much of it is announced.

    offset, size: bytes of the file behind its leading tags. mpeg: (offset, size) of the MPEG audio in a WAV.
    announced, present: bytes of sample data; 0 where the file does not announce any. cut: its last page is not whole.
    links: (offset, size) of each of several Ogg files, one behind the other.
    patches: see `Part`; they replace sizes that were never filled in. endless: so much is there that 32 bits do not
        hold its size.
    """

    offset: int
    size: int
    mpeg: tuple[int, int] | None = None
    announced: int = 0
    present: int = 0
    patches: Mapping[int, bytes] = field(default_factory=dict)
    endless: bool = False
    cut: bool = False
    links: tuple[tuple[int, int], ...] = ()


def inspect(file: BinaryIO) -> Header:
    """Look at the first bytes of a file, behind its ID3 tags."""
    offset = skip_id3(file)
    size = file.seek(0, io.SEEK_END) - offset
    part = Part(file, offset, size)
    magic = part.read(40)
    if magic[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and magic[8:12] == b"WAVE":
        return _wav(part, ">" if magic[:4] == b"RIFX" else "<")
    if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(part)
    if magic[:4] == b".snd" and len(magic) >= 24:
        start, announced = struct.unpack(">II", magic[4:12])
        return _sized(part, start, announced)
    if magic[:4] == b"riff" and magic[24:28] == b"wave":
        return _wave64(part)
    if magic[:4] == b"caff":
        return _caf(part)
    if magic[:4] == b"OggS":
        return _ogg(part)
    return Header(offset, size)


def check_announced(name: str, header: Header) -> None:
    """Raise StageError where less audio is there than the header announces."""
    if header.cut:
        raise StageError(f"{name} is truncated: its end is missing. Fetch or export it again")
    if header.present < header.announced:
        share = header.present / header.announced
        raise StageError(f"{name} is truncated: {share:.0%} of the announced audio is there. Fetch or export it again")


def truncated(name: str, intact: float) -> StageError:
    """The error for a file of which only the first seconds are there."""
    return StageError(
        f"{name} is truncated: only the first {intact:.2f} seconds are there. Fetch it again, or choose a part with"
        " --seconds"
    )


def skip_id3(file: BinaryIO, offset: int = 0) -> int:
    """Where the ID3v2 tags that begin at `offset`, one behind the other, end."""
    while True:
        file.seek(offset)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
            return offset
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset += 10 + size + (10 if head[5] & 0x10 else 0)


def never_filled_in(size: int) -> bool:
    """Whether the size of a chunk is one of those that are written where the length is not known yet.

    0 and 2^32 - 1 mostly; SoX and others write the largest signed number, less a header or an incomplete block, and
    for AIFF 0x7f000000.
    """
    return size == 0 or 0x7EFFFF00 <= size <= 0x7F000100 or 0x7FFF0000 <= size <= 0x80000100 or size >= 0xFFFF0000


def _chunks(part: Part, start: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """(name, offset of the body, announced size) of each chunk from `start` on."""
    for _ in range(CHUNKS_MOST):
        part.seek(start)
        head = part.read(8)
        if len(head) < 8:
            return
        name, size = struct.unpack(order + "4sI", head)
        yield name, start + 8, size
        start += 8 + size + size % 2


def _sized(part: Part, start: int, announced: int, patch: Mapping[int, bytes] | None = None) -> Header:
    """A header of audio from `start` on, whose size is announced in 32 bits; patch: what to read if it was not."""
    if never_filled_in(announced):
        return Header(part.offset, part.size, patches=patch or {})
    return Header(part.offset, part.size, announced=announced, present=max(0, part.size - start))


def _wav(part: Part, order: str) -> Header:
    tag, large, patches = 0, 0, {}
    for name, body, size in _chunks(part, 12, order):
        if name == b"ds64":
            part.seek(body + 8)
            large = int.from_bytes(part.read(8), "little")
            patches.update({0: b"RIFF", body - 8: b"JUNK"})  # read as a plain WAV where it was not filled in
        elif name == b"fmt ":
            part.seek(body)
            tag = int.from_bytes(part.read(2), "little" if order == "<" else "big")
        elif name == b"data":
            there = max(0, part.size - body)
            announced = large if large and size == 0xFFFFFFFF else size
            unknown = announced <= 0xFFFFFFFF and never_filled_in(announced) and not _is_empty(part, body, size, order)
            if tag in MPEG_TAGS:
                return Header(part.offset, part.size, (part.offset + body, there if unknown else min(there, announced)))
            if unknown and there:
                if there > 0xFFFFFFF0:
                    return Header(part.offset, part.size, endless=True)
                filled = struct.pack(order + "I", there)
                patches.update({4: b"\xff" * 4, body - 4: filled})
                return Header(part.offset, part.size, patches=patches)
            return Header(part.offset, part.size, announced=announced, present=min(there, announced))
    return Header(part.offset, part.size)


def _is_empty(part: Part, body: int, size: int, order: str) -> bool:
    """Whether a data chunk of size 0 is really empty: chunks follow it to the very end of the file."""
    if size != 0 or body >= part.size:
        return size == 0
    end = body
    for name, start, length in _chunks(part, body, order):
        if not name.isascii() or not name.decode("ascii").isprintable():
            return False
        end = start + length
    return part.size in (end, end + 1)


def _aiff(part: Part) -> Header:
    for name, body, size in _chunks(part, 12, ">"):
        if name == b"SSND":
            return _sized(part, body, size)
    return Header(part.offset, part.size)


def _wave64(part: Part) -> Header:
    start = 40
    for _ in range(CHUNKS_MOST):
        part.seek(start)
        head = part.read(24)
        if len(head) < 24:
            break
        size = int.from_bytes(head[16:], "little")  # of the chunk with its head
        if head[:4] == b"data":
            there = part.size - start - 24
            if size >= 2**62 or size <= 24:
                patches = {16: struct.pack("<Q", part.size), start + 16: struct.pack("<Q", 24 + there)}
                return Header(part.offset, part.size, patches=patches)
            return Header(part.offset, part.size, announced=size - 24, present=min(there, size - 24))
        start += size + -size % 8
    return Header(part.offset, part.size)


def _caf(part: Part) -> Header:
    start = 8
    for _ in range(CHUNKS_MOST):
        part.seek(start)
        head = part.read(12)
        if len(head) < 12:
            break
        size = int.from_bytes(head[4:], "big")  # 2^64 - 1 where it is not known
        if size >= 2**62:
            break
        if head[:4] == b"data":
            return Header(part.offset, part.size, announced=size, present=min(size, part.size - start - 12))
        start += 12 + size
    return Header(part.offset, part.size)


def _ogg(part: Part) -> Header:
    """Ogg announces no length, but that of each page: the last one must be whole."""
    part.seek(0)
    data = part.read()
    cut, at, begun, begins = False, 0, False, [0]
    while (at := data.find(b"OggS", at)) >= 0 and len(data) > at + 27:
        sizes = data[at + 27 : at + 27 + data[at + 26]]
        first = bool(data[at + 5] & 2)  # of a stream; several begin together, before anything else
        if first and begun:
            begins.append(at)
        begun = not first
        at += 27 + data[at + 26] + sum(sizes)
        cut = at > len(data)
    links = [(part.offset + low, high - low) for low, high in zip(begins, [*begins[1:], part.size])]
    return Header(part.offset, part.size, cut=cut, links=tuple(links) if len(links) > 1 else ())
