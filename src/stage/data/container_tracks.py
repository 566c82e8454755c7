"""Tracks in containers that FFmpeg reads: each audio stream of an MP4 is one, counted from 0."""

from __future__ import annotations

from stage.audio.decoders import count_streams
from stage.data.song import Track, open_file
from stage.errors import StageError


def streams(path: str) -> list[Track]:
    """The audio streams of a file, each with all samples that can be decoded: the end that is announced may be a frame
    earlier.

    Raises StageError with what is wrong with the file, also where a stream is cut off.
    """
    try:
        with open_file(path) as file:
            count = count_streams(file, path)
    except OSError as error:
        raise StageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    found = []
    for number in range(count):
        with Track(path, 0, 0, stream=number).open() as decoder:
            found.append(Track(path, decoder.rate, decoder.count(), stream=number))
    return found
