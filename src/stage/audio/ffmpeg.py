"""The sound of containers, videos and bare streams by FFmpeg (PyAV)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from stage.audio.headers import Part, truncated
from stage.errors import StageError

TAIL_SECONDS = 1.0
"""How much of the end of a file FFmpeg decodes to see how long it is."""

LATE_MOST = 3600.0
"""Seconds of silence that are put in front of the sound of a video, or into a gap of it, at most."""

GAP_SECONDS = 0.1
"""From which on a gap between the times of a video's sound is silence."""

DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,ircam,loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,nut,ogg,oma,rm,sox,spdif,tak,truehd,tta,voc,w64,wav,webm,wtv,wv,xwma"
)
"""Formats that FFmpeg may read: none that opens other files, as playlists (HLS, concat, DASH) do."""

ANNOUNCED = ("mov", "asf", "flac", "wav", "aiff", "caf", "ape", "wv", "tta", "ogg", "matroska")
"""Formats of FFmpeg whose announced length is one; that of a bare stream of frames is a guess from its bitrate."""


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
        self.pictures = self._pictures()
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
        late = max(0.0, self.begin - min(self.pictures, default=self.begin))
        if late > LATE_MOST:
            raise StageError(f"{self.name} is damaged: its sound begins {late:.0f} seconds after its picture")
        return round(late * self.rate)

    def _announced(self) -> tuple[float, float]:
        """Seconds at which the stream ends, and that should be there at least; inf where they are not announced."""
        formats = self.container.format.name.split(",")
        if not set(formats) & set(ANNOUNCED):
            return math.inf, math.inf
        if self.track.duration is not None and "asf" not in formats:  # there it is the whole file's
            seconds = float(self.track.duration * self.track.time_base)
            return seconds, seconds
        whole = self.container.duration
        if whole is None or self.pictures:
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
        """Raise StageError where decoding came to `position` only, by an error or before the announced end."""
        announced = self.expected * self.rate
        if self.broken or announced < math.inf and position < min(wanted, announced) - self.rate / 2:
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
                        f"{self.name} changes its sampling rate or its channels on the way: convert it first"
                    )
                if position is None:
                    position = self._position(frame)
                gap = self._position(frame) - position if self.pictures and frame.pts is not None else 0
                if GAP_SECONDS * self.rate < gap < LATE_MOST * self.rate:
                    yield position, np.zeros((self.channels, gap), np.float32)
                    position += gap
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
