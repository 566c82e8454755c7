"""Three decoders behind one interface: libsndfile, FFmpeg (PyAV), and single frames of MPEG audio.

Which one reads a file is decided by its content, never by its name. Files are open binary files that can seek, so that
no library opens a name itself: neither odd names nor playlists that name other files matter.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np

from stage.audio import mp3
from stage.audio.headers import Part, check_announced, inspect, truncated
from stage.errors import StageError

RATES = (4000, 768000)
"""Sampling rates in Hz that are taken for a recording rather than for a broken header."""

CHANNELS_MOST = 32
"""Channels that are taken for a recording rather than for a broken header or an array the wrong way round."""

BLOCK = 2**20
"""Samples that are decoded at a time."""

TAIL_SECONDS = 1.0
"""How much of the end of a file FFmpeg decodes to see how long it is."""

LATE_MOST = 6 * 3600.0
"""Seconds of silence that are put in front of the sound of a video at most."""

DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,ircam,loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,nut,ogg,oma,rm,sox,spdif,tak,truehd,tta,voc,w64,wav,webm,wtv,wv,xwma"
)
"""Formats that FFmpeg may read: none that opens other files, as playlists (HLS, concat, DASH) do."""

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

ANNOUNCED = ("mov", "asf", "avi", "flac", "wav", "aiff", "caf", "ape", "wv", "tta", "ogg", "matroska")
"""Formats of FFmpeg whose announced length is one; that of a bare stream of frames is a guess from its bitrate."""


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
        raise StageError(f"{name} is not audio, or damaged: {' '.join(str(why).split())}") from None


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
        # libsndfile's MPEG decoder prints on standard error
        if not header.endless and not header.mpeg and part.read(1) != b"\xff" and (decoder := Sndfile.open(part, name)):
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

    def __init__(self, sound: Any, name: str):
        self.sound, self.name = sound, name
        self.rate, self.channels, self.samples = sound.samplerate, sound.channels, sound.frames
        self.length = self.samples / self.rate if self.rate else 0.0

    @classmethod
    def open(cls, file: Part, name: str) -> Sndfile | None:
        """None for a format that libsndfile does not read, or in which it cannot seek."""
        import soundfile

        file.seek(0)
        # Sound Designer II keeps its header in a second file, which libsndfile finds by the name
        source = os.fsencode(name) if name.lower().endswith(".sd2") else file
        try:
            sound = soundfile.SoundFile(source)
        except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
            return None
        # a FLAC that was written into a pipe has no length, for libsndfile 2^63 - 1
        if not sound.seekable() or not 0 <= sound.frames < 2**62 or sound.format in ("MP3", "MPEG"):
            sound.close()
            return None
        return cls(sound, name)

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
                if len(block) == 0:
                    break
        except soundfile.SoundFileError:
            pass
        if at < last:
            raise truncated(self.name, at / self.rate)
        return np.concatenate(blocks, axis=1)

    def count(self) -> int:
        """See `Decoder`."""
        return self.samples

    def close(self) -> None:
        """See `Decoder`."""
        self.sound.close()


class Ffmpeg:
    """See `Decoder`: MP4, AAC, Opus in anything, the sound of videos.

    Samples count from the first one that is decoded; in a video from the beginning of picture and sound, so that
    there is silence in front of sound that begins later than the picture.
    """

    def __init__(self, file: Part, name: str, stream: int):
        import av

        av.logging.set_level(av.logging.PANIC)
        self.name = name
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
        self.container = av.open(file, options=options, metadata_errors="ignore")
        try:
            self._open(stream)
        except BaseException:
            self.container.close()
            raise

    def _open(self, stream: int) -> None:
        tracks = self.container.streams.audio
        if not tracks:
            raise StageError(f"{self.name} is not audio, or in no format that libsndfile or FFmpeg reads")
        if not 0 <= stream < len(tracks):
            raise StageError(f"{self.name} has no audio stream {stream}: it has {len(tracks)}, counted from 0")
        self.track, self.broken = tracks[stream], False
        if self.track.codec_context is None:
            raise StageError(f"{self.name} holds audio of an encoding that FFmpeg does not read: convert it first")
        self.frames = self.container.decode(self.track)
        first = next(self.frames, None)
        if first is None:
            raise StageError(f"{self.name} holds no audio")
        self.first, self.rate, self.channels = first, first.sample_rate, len(_floats(first))
        self.begin = float(first.pts * first.time_base) if first.pts is not None else 0.0
        self.late = self._late()
        self.length, self.expected = (seconds + self.late / self.rate for seconds in self._announced())

    def _pictures(self) -> list[float]:
        """When each picture of a video begins, in seconds of the container; covers are none."""
        return [
            float(stream.start_time * stream.time_base)
            for stream in self.container.streams.video
            if stream.start_time is not None and not _is_cover(stream)
        ]

    def _late(self) -> int:
        """Samples by which the sound begins later than the picture."""
        late = max(0.0, self.begin - min(self._pictures(), default=self.begin))
        if late > LATE_MOST:
            raise StageError(f"{self.name} is damaged: its sound begins {late:.0f} seconds after its picture")
        return round(late * self.rate)

    def _announced(self) -> tuple[float, float]:
        """Seconds at which the stream ends, and that should be there at least; inf where they are not announced."""
        formats = self.container.format.name.split(",")
        if not set(formats) & set(ANNOUNCED):
            return math.inf, math.inf
        if self.track.duration is not None:
            seconds = float(self.track.duration * self.track.time_base)
            return seconds, seconds
        whole = self.container.duration
        if whole is None or self._pictures():
            return math.inf, math.inf
        return math.inf, max(0.0, whole / 1e6 - max(0.0, self.begin))

    def read(self, first: int, last: int | None) -> np.ndarray:
        """See `Decoder`."""
        end = math.inf if last is None else last
        blocks = [np.zeros((self.channels, max(0, round(min(end, self.late)) - first)), np.float32)]
        position = self.late
        for at, block in self._blocks(first):
            low, high = max(0, first - at), min(block.shape[1], end - at)
            if low < high:
                blocks.append(block[:, low : round(high)])
            position = at + block.shape[1]
            if position >= end:
                break
        self._check_end(position, end)
        return np.concatenate(blocks, axis=1)

    def count(self) -> int:
        """See `Decoder`; decodes the end of the file, or all of it where its length is not announced."""
        end, position = self.length * self.rate, self.late
        first = round(end - TAIL_SECONDS * self.rate) if end < math.inf else 0
        for at, block in self._blocks(max(0, first)):
            position = at + block.shape[1]
        self._check_end(position, end)
        return position

    def _check_end(self, position: int, wanted: float) -> None:
        """Raise StageError where decoding came to `position` only, by an error or by the end of the file."""
        wanted = min(wanted, self.expected * self.rate)
        if self.broken or wanted < math.inf and position < wanted - self.rate / 2:
            raise truncated(self.name, position / self.rate)

    def _blocks(self, first: int) -> Iterator[tuple[int, np.ndarray]]:
        """(position, float32 [C, n]) from sample `first`, or some before it, on; ends with `broken` at an error."""
        import av

        position = None
        try:
            for frame in self._from(first):
                block = _floats(frame)
                if frame.sample_rate != self.rate or len(block) != self.channels:
                    raise StageError(
                        f"{self.name} changes its sampling rate or its channels on the way: convert it to WAV or FLAC"
                    )
                if position is None:
                    position = self._position(frame)
                yield position, block
                position += block.shape[1]
        except (av.FFmpegError, EOFError):
            self.broken = True

    def _from(self, first: int) -> Iterator[Any]:
        """Decoded frames, from a second before `first`: lossy decoders need some before they are exact."""
        second = (first - self.late) / self.rate - 1
        if self.frames is not None and (second <= 0 or self.length == math.inf and self.expected == math.inf):
            frames, self.frames = itertools.chain([self.first], self.frames), None
            return frames
        self.frames = None
        self.container.seek(int((self.begin + max(0.0, second)) / self.track.time_base), stream=self.track)
        return self.container.decode(self.track)

    def _position(self, frame: Any) -> int:
        """Where a frame begins. Clocks of a millisecond are too coarse, so it is moved to a whole number of frames."""
        if frame is self.first or frame.pts is None:
            return self.late
        place = (float(frame.pts * frame.time_base) - self.begin) * self.rate
        size, head = self.track.codec_context.frame_size or frame.samples, self.first.samples
        if size:
            whole = head + round((place - head) / size) * size
            if abs(whole - place) <= max(1.0, float(frame.time_base) * self.rate):
                place = whole
        return self.late + max(0, round(place))

    def close(self) -> None:
        """See `Decoder`."""
        self.container.close()


def _is_cover(stream: Any) -> bool:
    """Whether a video stream is a picture of the record, not one that moves."""
    import av

    attached = getattr(getattr(getattr(av, "stream", None), "Disposition", None), "attached_pic", 0)
    return bool(attached and getattr(stream, "disposition", 0) & attached) or stream.codec_context is None


def _floats(frame: Any) -> np.ndarray:
    """Samples of a decoded frame: float32 [C, n], integers scaled by their full scale."""
    samples, name = frame.to_ndarray(), frame.format.name
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if name.startswith("u8"):
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
