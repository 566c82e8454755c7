"""One song of any data set: stems by role, each the sum of its tracks, read a crop at a time.

Audio is float32 mono `[1, N]` (the mean of a file's channels), nominally within [-1, 1]; rates are integers in Hz.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from stage.errors import StageError

MARGIN = 1024
"""Samples around a crop that are read with it where it is resampled, so that the filter's edges are cut away."""

MAP_SECONDS = 0.1
"""Grain of the silence map."""


@dataclass(frozen=True)
class Problem:
    """What was left out, and why: a whole song, or one of its stems. `reason` is one of few, to be counted; `detail` is
    for a person."""

    song: str
    reason: str
    detail: str = ""
    stem: str = ""


@dataclass(frozen=True)
class Track:
    """One recording: an audio file that libsndfile reads, or (offset, size) in bytes the part of a file that is one.

    rate: Hz; samples: length at that rate. kind: what the data set calls it. bleed: other instruments are heard in it.
    gain: what the file's samples are multiplied with.
    """

    path: str
    rate: int
    samples: int
    kind: str = ""
    bleed: bool = False
    offset: int = 0
    size: int = 0
    gain: float = 1.0

    def read(self, start: int, samples: int) -> np.ndarray:
        """Samples start .. start + samples at the track's own rate: float32 [samples], zeros outside the track.

        Raises StageError where the file cannot be read or ends before it should.
        """
        out = np.zeros(samples, np.float32)
        first, last = max(start, 0), min(start + samples, self.samples)
        if first < last:
            audio = self._decode(first, last - first)
            if len(audio) < last - first:
                raise StageError(
                    f"{self.path} is truncated: it ends at {(first + len(audio)) / self.rate:.2f} of"
                    f" {self.samples / self.rate:.2f} seconds"
                )
            if not np.isfinite(audio).all():
                raise StageError(f"{self.path} is damaged: its samples are not numbers (NaN or infinite)")
            out[first - start : last - start] = audio * np.float32(self.gain)
        return out

    def _decode(self, start: int, samples: int) -> np.ndarray:
        """float32 [<= samples], the mean of the channels, from within the track."""
        import soundfile

        try:
            with (
                open_file(self.path) as raw,
                soundfile.SoundFile(Part(raw, self.offset, self.size) if self.size else raw) as file,
            ):
                file.seek(start)
                audio = file.read(samples, dtype="float32", always_2d=True)
        except (OSError, soundfile.LibsndfileError) as error:
            raise StageError(f"{self.path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return audio[:, 0] if audio.shape[1] == 1 else audio.mean(1)

    def read_at(self, rate: int, start: int, samples: int) -> np.ndarray:
        """`read` at another rate: start and samples count at `rate`. The same as a cut of the whole track resampled at
        once."""
        if rate == self.rate:
            return self.read(start, samples)
        import soxr

        # The grid on which both rates have a sample: a crop that starts there is not shifted by a fraction.
        common = math.gcd(rate, self.rate)
        here, there = rate // common, self.rate // common
        low = math.floor((start - MARGIN) / here)
        high = math.ceil((start + samples + MARGIN) / here)
        audio = soxr.resample(self.read(low * there, (high - low) * there), self.rate, rate, quality="HQ")
        cut = audio[start - low * here :][:samples]
        return np.pad(cut, (0, samples - len(cut))).astype(np.float32, copy=False)


def open_file(path: str) -> BinaryIO:
    """A file for reading, on disk or at a URL that fsspec knows (s3://bucket/shard.tar). Raises OSError as `open`
    does."""
    if "://" not in str(path):
        return open(path, "rb")
    import fsspec

    try:
        return fsspec.open(str(path), "rb").open()
    except (ImportError, ValueError) as error:
        raise StageError(f"{path} cannot be opened: {error}") from None


class Part(io.RawIOBase):
    """A stretch of an open binary file as a file of its own, for reading."""

    def __init__(self, file: Any, offset: int, size: int):
        self.file, self.offset, self.size, self.place = file, offset, size, 0

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


@dataclass(frozen=True, eq=False, repr=False)
class Song:
    """A song. Whoever holds one needs no data set: everything is read through it.

    rate: Hz; samples: length at that rate, of the longest track. stems: role ("drums", "bass", "guitar", "keys",
    "vocals",
    "other", ...) -> its tracks. beats: float64 [n, 2], seconds and the place in the bar (1 = downbeat); None where
    unknown.
    key: like "C# minor". split: the data set's own, None where it has none. chords: [{start, end, root (0..11 or None),
    pitch_classes, name}], seconds; None where unknown. loudness: role -> LUFS. sounding: role -> float32 [m], the
    peak in each 0.1 s. The last two are known of prepared songs only.
    """

    id: str
    artist: str
    title: str
    rate: int
    samples: int
    stems: Mapping[str, Sequence[Track]]
    beats: np.ndarray | None = None
    genres: tuple[str, ...] = ()
    moods: tuple[str, ...] = ()
    tempo: float | None = None
    key: str | None = None
    split: str | None = None
    chords: Sequence[Mapping[str, Any]] | None = None
    loudness: Mapping[str, float] | None = None
    sounding: Mapping[str, np.ndarray] | None = None
    captions: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        return f"<Song {self.id}: {self.seconds:.1f} s, {', '.join(self.stems)}>"

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate

    def peak(self, role: str, start: int, samples: int) -> float:
        """The largest peak of a prepared song's role in samples start .. start + samples, from its silence map; at most
        0.1 s too wide."""
        grain = MAP_SECONDS * self.rate
        return float(
            self.sounding[role][max(0, int(start / grain)) : math.ceil((start + samples) / grain)].max(initial=0.0)
        )

    def read(self, roles: str | Iterable[str], start: int, samples: int) -> np.ndarray:
        """Samples start .. start + samples of the sum of all tracks of these roles: float32 [1, samples] at
        `self.rate`.

        Only the crop is read; zeros outside the song and for a role that does not play. Raises StageError that names
        the file that fails.
        """
        out = np.zeros((1, samples), np.float32)
        for role in [roles] if isinstance(roles, str) else roles:
            for track in self.stems.get(role, ()):
                out[0] += track.read_at(self.rate, start, samples)
        return out


def common_length(tracks: Iterable[Track], rate: int) -> int:
    """Samples at `rate` of the longest track."""
    return max((math.ceil(track.samples * rate / track.rate) for track in tracks), default=0)


def probe(path: str, **about: Any) -> Track:
    """The Track of an audio file, from its header alone. Raises StageError that says what is wrong with the file."""
    import soundfile

    try:
        info = soundfile.info(str(path), verbose=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise StageError(f"{path} cannot be read: {getattr(error, 'error_string', error)}") from None
    from stage.audio.files import _check_announced

    _check_announced(path, info.extra_info)
    if not info.frames:
        raise StageError(f"{path} holds no audio")
    return Track(str(path), info.samplerate, info.frames, **about)
