"""Recordings in and out: read, write, resample, bring to a length or to one channel.

Audio is float32 numpy, `[C, N]` (channels, samples) or `[N]` where one channel is meant, nominally
within [-1, 1]; rates are integers in Hz. What a person can mend raises `StageError` with one line.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from stage.audio.level import BLOCK, rms
from stage.errors import StageError
from stage.files import whole_file

RATES = (4000, 768000)
"""Sampling rates in Hz that are taken for a recording rather than for a broken header."""

CHANNELS_MOST = 32
"""Channels that are taken for a recording rather than for a broken header or an array the wrong way round."""

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
"""What can be written; both with 24 bits."""


# ---------------------------------------------------------------- reading


def read(
    path: str | os.PathLike, start: float = 0.0, seconds: float | None = None, stream: int = 0
) -> tuple[np.ndarray, int]:
    """Read a stretch of any file that libsndfile or FFmpeg reads.

    start: where to begin, in seconds. Only the stretch is decoded where the format can seek.
    seconds: how much to read, to the end of the file if None; less is returned where the file ends before.
    stream: which audio stream of a container with several (a Native Instruments `.stem.mp4`, say).

    Returns (audio [C, N] float32, rate). Raises StageError for a path that is missing, a folder, not
    readable, empty, not audio, truncated or holds values that are not finite, and for a start outside the file.
    """
    path = Path(path)
    if not 0 <= start < float("inf"):
        raise StageError(f"cannot start at {start:g} seconds: --start counts from 0, the beginning of {path.name}")
    if seconds is not None and not 0 < seconds < float("inf"):
        raise StageError(f"cannot read {seconds:g} seconds of {path.name}: the length must be more than 0")
    _check_readable(path)
    result = _read_sndfile(path, start, seconds) if stream == 0 else None
    audio, rate = result or _read_ffmpeg(path, start, seconds, stream)
    if audio.shape[1] == 0:
        raise StageError(f"{path} holds no audio" + (f" from {start:g} seconds on" if start else ""))
    if not np.isfinite(audio).all():
        first = np.flatnonzero(~np.isfinite(audio).all(0))[0] / rate + start
        raise StageError(
            f"{path} is damaged: its samples are not numbers (NaN or infinite) from {first:.2f} seconds on"
        )
    return audio, rate


def _check_readable(path: Path) -> None:
    try:
        if path.is_dir():
            raise StageError(f"{path} is a folder: name one audio file")
        with open(path, "rb") as file:
            if not file.read(1):
                raise StageError(f"{path} is empty")
    except FileNotFoundError:
        raise StageError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise StageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _check_start(path: Path, start: float, length: float) -> None:
    if start and start >= length:
        raise StageError(f"cannot start at {start:g} seconds: {path} ends at {length:.2f} seconds")


def _read_sndfile(path: Path, start: float, seconds: float | None) -> tuple[np.ndarray, int] | None:
    """The stretch by libsndfile; None if it does not know the format, so that FFmpeg is asked."""
    import soundfile

    try:
        with _quiet(), soundfile.SoundFile(path) as file:
            rate = file.samplerate
            check_rate(rate, str(path))
            _check_announced(path, file.extra_info)
            if not file.seekable():
                return None
            _check_start(path, start, file.frames / rate)
            first = round(start * rate)
            wanted = file.frames - first
            if seconds is not None:
                wanted = min(wanted, max(1, round(seconds * rate)))
            file.seek(first)
            audio = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        return None
    if len(audio) < wanted:
        raise _truncated(path, (first + len(audio)) / rate)
    return np.ascontiguousarray(audio.T), rate


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what C libraries print on stderr: libsndfile's MP3 reader comments on every odd byte."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _truncated(path: Path, intact: float) -> StageError:
    return StageError(
        f"{path} is truncated: only the first {intact:.2f} seconds are there. Fetch it again, or choose a part with"
        " --seconds"
    )


def _check_announced(path: Path, log: str) -> None:
    """libsndfile plays a cut WAV without a word but for its log; a size that was never filled in is no cut."""
    cut = re.search(r"data : (\d+) \(should be (\d+)\)", log)
    if cut and int(cut[2]) < int(cut[1]) < 2**31 - 1:
        share = int(cut[2]) / int(cut[1])
        raise StageError(f"{path} is truncated: {share:.0%} of the announced audio is there. Fetch or export it again")


def _read_ffmpeg(path: Path, start: float, seconds: float | None, stream: int) -> tuple[np.ndarray, int]:
    """The stretch by FFmpeg (PyAV), which also reads MP4, AAC, Opus in anything, and the sound of videos."""
    import av

    av.logging.set_level(av.logging.PANIC)
    try:
        with av.open(str(path)) as container:
            tracks = container.streams.audio
            if not tracks:
                raise StageError(f"{path} is not audio, or in no format that libsndfile or FFmpeg reads")
            if not 0 <= stream < len(tracks):
                raise StageError(f"{path} has no audio stream {stream}: it has {len(tracks)}, counted from 0")
            track = tracks[stream]
            rate = track.codec_context.sample_rate
            check_rate(rate, str(path))
            length = float("inf") if track.duration is None else float(track.duration * track.time_base)
            _check_start(path, start, length)
            first = round(start * rate)
            last = length * rate if seconds is None else min(length * rate, first + max(1, round(seconds * rate)))
            audio, end, whole = _decode(container, track, rate, first, last)
    except av.FFmpegError as error:
        raise StageError(f"{path} is not audio, or damaged: {error.strerror or error}") from None
    if not whole or (length < float("inf") and end < last - rate / 2):
        raise _truncated(path, end / rate)
    if audio.shape[1] == 0 and start:
        _check_start(path, start, end / rate)
    return audio, rate


def _decode(container, track, rate: int, first: int, last: float) -> tuple[np.ndarray, int, bool]:
    """Samples from first to before last (inf: all) of a stream. Returns (audio [C, N], last decoded sample, no error on
    the way)."""
    import av

    origin = track.start_time or 0
    if first > rate:
        # A second early: lossy decoders need some frames before they are exact.
        container.seek(origin + int((first / rate - 1) / track.time_base), stream=track)
    resampler = av.AudioResampler(format="fltp")
    blocks, position, whole = [], None, True
    try:
        for frame in container.decode(track):
            if frame.pts is not None and position is None:
                position = round((frame.pts - origin) * float(frame.time_base) * rate)
            position = position or 0
            for part in resampler.resample(frame):
                block = part.to_ndarray()
                low = max(0, first - position)
                high = min(block.shape[1], last - position)
                position += block.shape[1]
                if low < high:
                    blocks.append(block[:, low : round(high)].astype(np.float32))
            if position >= last:
                break
    except av.FFmpegError:
        whole = False
    channels = track.codec_context.channels or 1
    audio = np.concatenate(blocks, axis=1) if blocks else np.zeros((channels, 0), np.float32)
    return audio, position or 0, whole


# ---------------------------------------------------------------- writing


def write(path: str | os.PathLike, audio: np.ndarray, rate: int, force: bool = False) -> None:
    """Write audio [C, N] or [N] with 24 bits, as WAV or FLAC by the name's suffix; whole or not at all.

    Samples beyond full scale are clipped here, for no format holds them: `stage.audio.level.limit` first what may have
    some.
    """
    import soundfile

    path = Path(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise StageError(f"cannot write {path.name}: the name must end in {' or '.join(FORMATS)}")
    with whole_file(path, force) as partial:
        try:
            samples = np.atleast_2d(audio)
            with soundfile.SoundFile(partial, "w", rate, len(samples), "PCM_24", format=kind) as file:
                for first in range(0, samples.shape[1], BLOCK):
                    file.write(np.clip(samples[:, first : first + BLOCK], -1, 1).T)
        except soundfile.LibsndfileError as error:
            raise StageError(f"cannot write {path}: {error.error_string}") from None


# ---------------------------------------------------------------- form


def check(audio: ArrayLike, rate: float) -> tuple[np.ndarray, int]:
    """Audio of a caller as this package uses it: (float32 [C, N], rate in Hz).

    audio: [C, N] or [N]; floats nominally within [-1, 1] stay as they are, integers of 8 (unsigned: centred on 128),
    16 or 32 bits are scaled by their full scale. Values are not looked at: they may be NaN.
    Raises StageError for another shape or type, [N, C] among them, and for a rate that no recording has.
    """
    try:
        audio = np.asarray(audio)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors that need gradients or lie on a GPU
        raise StageError(f"audio must be a numpy array [channels, samples] or [samples]: {error}") from None
    if audio.ndim not in (1, 2):
        raise StageError(f"audio has the shape [channels, samples] or [samples], not {list(audio.shape)}")
    if audio.dtype.kind == "f":
        audio = audio.astype(np.float32, copy=False)
    elif audio.dtype.kind in "iu" and audio.dtype.itemsize <= 4 and audio.dtype not in (np.uint16, np.uint32):
        full_scale = 2.0 ** (8 * audio.dtype.itemsize - 1)
        audio = ((audio - np.float64(audio.dtype.kind == "u") * full_scale) / full_scale).astype(np.float32)
    else:
        raise StageError(f"audio of type {audio.dtype} cannot be used: give float32 within -1 to 1, or int16 or int32")
    audio = np.atleast_2d(audio)
    channels, samples = audio.shape
    if channels > CHANNELS_MOST and samples <= CHANNELS_MOST:
        raise StageError(f"audio of the shape {[channels, samples]} cannot be used: channels come first: audio.T")
    if not 1 <= channels <= CHANNELS_MOST:
        raise StageError(f"audio of {channels} channels cannot be used: 1 to {CHANNELS_MOST} can")
    return audio, check_rate(rate)


def check_rate(rate: float, what: str = "audio") -> int:
    """A sampling rate in Hz as an int; StageError for one that no recording has. what: whose it is, for the message."""
    try:
        if int(rate) == rate and RATES[0] <= rate <= RATES[1]:
            return int(rate)
    except (TypeError, ValueError, OverflowError):
        pass
    raise StageError(f"{what} has a sampling rate of {rate} Hz: only {RATES[0]} to {RATES[1]} Hz can be used")


def resample(audio: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Audio [C, N] or [N] at another rate (soxr, high quality, no shift in time). Returns float32."""
    if from_rate == to_rate:
        return np.asarray(audio, np.float32)
    import soxr

    return np.ascontiguousarray(soxr.resample(np.asarray(audio, np.float32).T, from_rate, to_rate, quality="HQ").T)


class Resampler:
    """`resample` of a sound [C, N] that comes in parts: all parts together are the one-shot result."""

    def __init__(self, from_rate: int, to_rate: int, channels: int):
        import soxr

        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="HQ")

    def push(self, audio: np.ndarray, last: bool = False) -> np.ndarray:
        """The next part [C, n] -> what is certain now, float32 [C, m]. last: none will follow."""
        frames = np.ascontiguousarray(audio.T, np.float32)
        return np.ascontiguousarray(self._stream.resample_chunk(frames, last=last).reshape(-1, len(audio)).T)


def fit(audio: np.ndarray, samples: int) -> np.ndarray:
    """Cut, or pad with zeros at the end, to exactly `samples`."""
    missing = samples - audio.shape[-1]
    if missing <= 0:
        return audio[..., :samples]
    return np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, missing)])


def to_mono(audio: np.ndarray) -> np.ndarray:
    """[C, N] or [N] -> [N]: the mean of the channels, or the loudest one where the mean all but cancels."""
    if audio.ndim == 1:
        return audio
    mean = audio.mean(0, dtype=np.float32)
    if len(audio) > 1:
        levels = [rms(channel) for channel in audio]
        if rms(mean) < 0.03 * max(levels):
            return audio[int(np.argmax(levels))]
    return mean
