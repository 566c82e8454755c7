"""Tracks in containers that FFmpeg reads (PyAV): one audio stream of an MP4, cropped to the sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stage.data.song import Track
from stage.errors import StageError

TAIL_SECONDS = 1.0
"""How much of the end of a file is looked at to see whether it is there."""


@dataclass(frozen=True)
class StreamTrack(Track):
    """One audio stream of a file, counted from 0. A crop is decoded from a second before it, and what comes too early
    is thrown away."""

    stream: int = 0

    def _decode(self, start: int, samples: int) -> np.ndarray:
        import av

        from stage.audio.files import _decode

        av.logging.set_level(av.logging.PANIC)
        try:
            with av.open(self.path, metadata_errors="ignore") as container:
                audio, _, _ = _decode(
                    container, container.streams.audio[self.stream], self.rate, start, start + samples
                )
        except (OSError, IndexError, av.FFmpegError) as error:
            raise StageError(f"{self.path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return audio.mean(0)


def streams(path: str) -> list[StreamTrack]:
    """The audio streams of a file. Raises StageError that says what is wrong with it; one that is cut off counts as
    truncated."""
    import av

    av.logging.set_level(av.logging.PANIC)
    try:
        with av.open(path, metadata_errors="ignore") as container:
            audio = list(container.streams.audio)
            if not audio:
                raise StageError(f"{path} holds no audio")
            found = []
            for number, stream in enumerate(audio):
                rate, announced = stream.codec_context.sample_rate, float((stream.duration or 0) * stream.time_base)
                end = _end(container, stream)
                if end < (announced - TAIL_SECONDS / 2) * rate:
                    raise StageError(
                        f"{path} is truncated: stream {number} ends before the announced {announced:.2f} seconds. Fetch"
                        " it again"
                    )
                found.append(StreamTrack(path, rate, end, stream=number))
            return found
    except (OSError, av.FFmpegError) as error:
        raise StageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _end(container, stream) -> int:
    """Samples of a stream, counted by decoding the last of it: what is announced may differ by a frame. 0 where nothing
    is decoded there."""
    import av

    origin, end = stream.start_time or 0, 0
    tail = max(0, (stream.duration or 0) - int(TAIL_SECONDS / stream.time_base))
    try:
        container.seek(origin + tail, stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None:
                end = round(float((frame.pts - origin) * frame.time_base) * frame.sample_rate) + frame.samples
    except av.FFmpegError:
        pass  # what was counted before tells how far the file is whole
    return end
