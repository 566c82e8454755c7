"""Three decoders behind one interface: libsndfile, FFmpeg (PyAV), and single frames of MPEG audio.

Which one reads a file is decided by its content, never by its name. Files are open binary files that can seek, so that
no library opens a name itself: neither odd names nor playlists that name other files matter.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np

from stage.audio import mp3
from stage.audio.callbacks import Guarded
from stage.audio.ffmpeg import Ffmpeg
from stage.audio.headers import Part, check_announced, inspect, truncated
from stage.errors import StageError

RATES = (4000, 768000)
"""Sampling rates in Hz that are taken for a recording rather than for a broken header."""

CHANNELS_MOST = 32
"""Channels that are taken for a recording rather than for a broken header or an array the wrong way round."""

BLOCK = 2**20
"""Samples that are decoded at a time."""

MAGICS = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"riff",
    b"FORM",
    b"OggS",
    b"fLaC",
    b".snd",
    b"caff",
    b"FLV",
    b"\x1aE\xdf\xa3",  # Matroska
    b"0&\xb2u",  # ASF
    b"\0\0\1\xba",  # MPEG programme stream
    b"\0\0\1\xb3",
)
ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""Beginnings of files, and of QuickTime's and MP4's first atoms, that are not MPEG audio alone."""

LAYOUTS_MOST = 64
_layouts: dict[tuple, mp3.Layout | None] = {}


class Decoder(Protocol):
    """An open audio file.

    rate: Hz; channels; length: seconds that are announced, inf where nothing is. An encoder's padding behind them is
    decoded all the same.
    """

    rate: int
    channels: int
    length: float

    def read(self, first: int, last: int | None) -> np.ndarray:
        """Samples first .. last (None: to the end) -> float32 [C, n], fewer where the file ends before.

        Raises StageError where the file is damaged, or ends before it should.
        """
        ...

    def count(self) -> int:
        """Exact number of samples. Raises StageError where the file ends before it should."""
        ...

    def close(self) -> None:
        """Give back what the decoder holds; the file itself stays open."""
        ...


@contextlib.contextmanager
def open_decoder(file: BinaryIO, name: str, stream: int = 0) -> Iterator[Decoder]:
    """The decoder that reads an open file, for a `with`.

    name: what messages call the file. stream: which audio stream of a container with several.
    Raises StageError for what is not audio, truncated, or of a rate or a number of channels that no recording has.
    """
    with libraries(name):
        decoder = _choose(file, name, stream)
    try:
        check_rate(decoder.rate, name)
        if not 1 <= decoder.channels <= CHANNELS_MOST:
            raise StageError(f"{name} has {decoder.channels} channels: 1 to {CHANNELS_MOST} can be used")
        with libraries(name):
            yield decoder
    finally:
        decoder.close()


def count_streams(file: BinaryIO, name: str) -> int:
    """How many audio streams a container holds. Raises StageError where there is none that can be decoded."""
    with libraries(name), contextlib.closing(Ffmpeg(Part(file, 0, file.seek(0, os.SEEK_END)), name, 0)) as decoder:
        return len(decoder.container.streams.audio)


@contextlib.contextmanager
def libraries(name: str) -> Iterator[None]:
    """Turn whatever the libraries below raise on a file that is not in order into StageError."""
    try:
        yield
    except StageError:
        raise
    except MemoryError:
        raise StageError(f"{name} does not fit into memory: choose a part with --start and --seconds") from None
    except Exception as error:  # garbage makes them raise nearly anything
        why = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        raise StageError(f"{name} is not audio, or damaged: {' '.join(str(why).split())}") from error


def check_rate(rate: float, what: str = "audio") -> int:
    """A sampling rate in Hz as an int; StageError for one that no recording has. what: whose it is, for the message."""
    try:
        if int(rate) == rate and RATES[0] <= rate <= RATES[1]:
            return int(rate)
    except (TypeError, ValueError, OverflowError):
        pass
    raise StageError(f"{what} has a sampling rate of {rate} Hz: only {RATES[0]} to {RATES[1]} Hz can be used")


def _choose(file: BinaryIO, name: str, stream: int) -> Decoder:
    header = inspect(file)
    if stream == 0:
        layout = None
        if header.mpeg:
            layout = _mpeg(file, name, *header.mpeg)
        elif not _is_other(Part(file, header.offset, header.size)):
            layout = _mpeg(file, name, header.offset, header.size)
        if layout:
            return mp3.Mp3(file, name, layout)
        check_announced(name, header)
        part = Part(file, header.offset, header.size, header.patches)
        if header.links and (chain := Chain.open(file, name, header.links)):
            return chain
        # libsndfile's MPEG decoder prints on standard error
        mpeg = header.mpeg or part.read(1) == b"\xff"
        if not header.endless and not mpeg and (decoder := Sndfile.open(part, name)):
            return decoder
    return Ffmpeg(Part(file, header.offset, header.size), name, stream)


def _is_other(file: Part) -> bool:
    """Whether a file begins as one of a format that is not MPEG audio, though some may lie in it."""
    head = file.read(189)
    return head.startswith(MAGICS) or head[4:8] in ATOMS or head[0:1] + head[188:189] == b"GG"


def _mpeg(file: BinaryIO, name: str, offset: int, size: int) -> mp3.Layout | None:
    """The frames of MPEG audio; of a file on disk that has not changed they are looked for once only."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError, ValueError):
        return mp3.scan(file, name, offset, size)
    place = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, offset, size)
    if place in _layouts:
        return _layouts[place]
    layout = mp3.scan(file, name, offset, size)
    while len(_layouts) >= LAYOUTS_MOST:
        _layouts.pop(next(iter(_layouts)), None)
    _layouts[place] = layout
    return layout


class Sndfile:
    """See `Decoder`: WAV, FLAC, AIFF, Ogg and what else libsndfile reads, but not MP3."""

    def __init__(self, sound: Any, name: str, guarded: Guarded):
        self.sound, self.name, self.guarded = sound, name, guarded
        self.rate, self.channels, self.samples = sound.samplerate, sound.channels, sound.frames
        self.length = self.samples / self.rate if self.rate else 0.0

    @classmethod
    def open(cls, file: Part, name: str) -> Sndfile | None:
        """None for a format that libsndfile does not read, or in which it cannot seek."""
        import soundfile

        file.seek(0)
        # Sound Designer II keeps its header in a second file, which libsndfile finds by the name
        guarded = Guarded(file)
        source = os.fsencode(name) if name.lower().endswith(".sd2") else guarded
        try:
            sound = soundfile.SoundFile(source)
        except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
            guarded.check(errors=False)
            return None
        guarded.check(errors=False)
        guarded.error = None  # a damaged header may have sent the library beyond the end, which it survived
        # a FLAC that was written into a pipe has no length, for libsndfile 2^63 - 1
        if not sound.seekable() or not 0 <= sound.frames < 2**62 or sound.format in ("MP3", "MPEG"):
            sound.close()
            return None
        return cls(sound, name, guarded)

    def read(self, first: int, last: int | None) -> np.ndarray:
        """See `Decoder`."""
        import soundfile

        last = self.samples if last is None else min(last, self.samples)
        blocks, at = [np.zeros((self.channels, 0), np.float32)], first
        try:
            self.sound.seek(min(first, self.samples))
            while at < last:
                block = self.sound.read(min(BLOCK, last - at), dtype="float32", always_2d=True)
                blocks.append(np.ascontiguousarray(block.T))
                at += len(block)
                self.guarded.check(errors=False)
                if len(block) == 0:
                    break
        except soundfile.SoundFileError:
            pass
        if at < last:
            self.guarded.check()
            raise truncated(self.name, at / self.rate)
        return np.concatenate(blocks, axis=1)

    def count(self) -> int:
        """See `Decoder`."""
        return self.samples

    def close(self) -> None:
        """See `Decoder`."""
        self.sound.close()


class Chain:
    """See `Decoder`: several files in one, as recordings of a radio station are; libsndfile reads the first only."""

    def __init__(self, parts: list[Sndfile]):
        self.parts = parts
        self.rate, self.channels, self.samples = parts[0].rate, parts[0].channels, sum(part.samples for part in parts)
        self.length = self.samples / self.rate

    @classmethod
    def open(cls, file: BinaryIO, name: str, places: Sequence[tuple[int, int]]) -> Chain | None:
        """None where libsndfile does not read all of them. Raises StageError where their forms differ."""
        parts = [Sndfile.open(Part(file, offset, size), name) for offset, size in places]
        if not all(parts):
            return None
        if len({(part.rate, part.channels) for part in parts}) > 1:
            raise StageError(f"{name} changes its sampling rate or its channels on the way: convert it first")
        return cls(parts)

    def read(self, first: int, last: int | None) -> np.ndarray:
        """See `Decoder`."""
        blocks, begin = [np.zeros((self.channels, 0), np.float32)], 0
        for part in self.parts:
            low, high = max(0, first - begin), part.samples if last is None else min(part.samples, last - begin)
            if low < high:
                blocks.append(part.read(low, high))
            begin += part.samples
        return np.concatenate(blocks, axis=1)

    def count(self) -> int:
        """See `Decoder`."""
        return self.samples

    def close(self) -> None:
        """See `Decoder`."""
        for part in self.parts:
            part.close()
