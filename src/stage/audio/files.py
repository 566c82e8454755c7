"""Recordings in and out: read, write, resample, bring to a length or to one channel.

Audio is float32 numpy, `[C, N]` (channels, samples) or `[N]` where one channel is meant, nominally
within [-1, 1]; rates are integers in Hz. What a person can mend raises `StageError` with one line.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import ArrayLike

from stage.audio.callbacks import Guarded
from stage.audio.decoders import CHANNELS_MOST, Decoder, Ffmpeg, check_rate, libraries, open_decoder
from stage.audio.headers import Part
from stage.audio.level import BLOCK, rms
from stage.errors import MissingFile, StageError
from stage.files import check_free, whole_file

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
"""What can be written; both with 24 bits."""


CANCELS = 0.03
"""Level of the mean of all channels, relative to the loudest one, below which they cancel each other."""


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
    with _opened(path) as file, open_decoder(file, str(path), stream) as decoder:
        audio, rate = _stretch(decoder, str(path), start, seconds)
    if audio.shape[1] == 0:
        raise StageError(f"{path} holds no audio" + (f" from {start:g} seconds on" if start else ""))
    if not np.isfinite(audio).all():
        first = np.flatnonzero(~np.isfinite(audio).all(0))[0] / rate + start
        raise StageError(
            f"{path} is damaged: its samples are not numbers (NaN or infinite) from {first:.2f} seconds on"
        )
    return audio, rate


def _stretch(decoder: Decoder, name: str, start: float, seconds: float | None) -> tuple[np.ndarray, int]:
    """(audio [C, N], rate) of a stretch. Raises StageError for a start behind the end."""
    rate = decoder.rate
    first = round(start * rate)
    last = (
        decoder.length * rate if seconds is None else min(decoder.length * rate, first + max(1, round(seconds * rate)))
    )
    audio = np.zeros((decoder.channels, 0), np.float32)
    if not start or start < decoder.length:
        audio = decoder.read(first, None if last == float("inf") else round(last))
    if start and audio.shape[1] == 0:
        length = decoder.length if decoder.length < float("inf") else decoder.count() / rate
        raise StageError(f"cannot start at {start:g} seconds: {name} ends at {length:.2f} seconds")
    return audio, rate


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file of a path, for a `with`; what cannot seek (a pipe) is read into memory. StageError if it cannot be."""
    if os.path.isdir(path):
        raise StageError(f"{path} is a folder: name one audio file")
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:[\\/]", str(path)):  # a Windows drive has one letter
            raise MissingFile(f"{path} is a URL, not a file: download it first") from None
        raise MissingFile(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise StageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    with file:
        try:
            source = file if file.seekable() else io.BytesIO(file.read())
            empty = not source.read(1)
        except OSError as error:
            raise StageError(f"cannot read {path}: {error.strerror or error}") from None
        if empty:
            raise StageError(f"{path} is empty")
        yield source


def _read_ffmpeg(path: Path, start: float, seconds: float | None, stream: int) -> tuple[np.ndarray, int]:
    """`read` by FFmpeg alone, to compare decoders."""
    with open(path, "rb") as file, libraries(str(path)):
        decoder = Ffmpeg(Part(file, 0, file.seek(0, os.SEEK_END)), str(path), stream)
        try:
            return _stretch(decoder, str(path), start, seconds)
        finally:
            decoder.close()


# ---------------------------------------------------------------- writing


def format_of(path: str | os.PathLike) -> str:
    """The format that a name stands for, as libsndfile calls it. Raises StageError for other names."""
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise StageError(f"cannot write {Path(path).name}: the name must end in {' or '.join(FORMATS)}")
    return kind


def write(path: str | os.PathLike, audio: np.ndarray, rate: int, force: bool = False) -> None:
    """Write audio [C, N] or [N] with 24 bits, as WAV or FLAC by the name's suffix; whole or not at all.

    Samples beyond full scale are clipped here, for no format holds them: `stage.audio.level.limit` first what may have
    some.
    """
    import soundfile

    path = Path(path)
    kind = format_of(path)
    check_free(path, force, "pass force=True (--force on the command line) to replace it, or choose another name")
    with whole_file(path, force) as partial:
        samples = np.atleast_2d(audio)
        with open(partial, "r+b") as raw:
            guarded = Guarded(raw)
            try:
                with soundfile.SoundFile(
                    cast(BinaryIO, guarded), "w", rate, len(samples), "PCM_24", format=kind
                ) as file:
                    for first in range(0, samples.shape[1], BLOCK):
                        file.write(np.clip(samples[:, first : first + BLOCK], -1, 1).T)
                        guarded.check()
            except soundfile.LibsndfileError as error:
                guarded.check()
                raise StageError(f"cannot write {path}: {error.error_string}") from None
            guarded.check()


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


def resample(audio: np.ndarray, from_rate: float, to_rate: float) -> np.ndarray:
    """Audio [C, N] or [N] at another rate (soxr, high quality, no shift in time). Returns float32."""
    if from_rate == to_rate:
        return np.asarray(audio, np.float32)
    import soxr

    return np.ascontiguousarray(soxr.resample(np.asarray(audio, np.float32).T, from_rate, to_rate, quality="HQ").T)


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
    channel = loudest([rms(channel) for channel in audio], rms(mean)) if len(audio) > 1 else None
    return mean if channel is None else audio[channel]


def loudest(levels: ArrayLike, mean: float) -> int | None:
    """The channel that stands for all where their mean cancels, None where it does not; from the RMS of both."""
    return int(np.argmax(levels)) if mean < CANCELS * np.max(levels) else None
