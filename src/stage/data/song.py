"""One song of any data set: stems by role, each the sum of its tracks, read a crop at a time.

Audio is float32 mono `[1, N]`, nominally within [-1, 1]: the mean of a file's channels, or the loudest where they
cancel each other. Rates are integers in Hz.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

from stage.audio.decoders import BLOCK, Decoder, open_decoder
from stage.audio.files import CANCELS, loudest
from stage.audio.headers import Part
from stage.audio.level import rms
from stage.errors import MissingExtra, StageError

MARGIN = 1024
"""Samples around a crop that are read with it where it is resampled, so that the filter's edges are cut away."""

MAP_SECONDS = 0.1
"""Grain of the silence map."""


@dataclass(frozen=True)
class Problem:
    """What was left out, and why: a whole song, or one of its stems. `reason` is one of few, to be counted; `detail` is
    for reading."""

    song: str
    reason: str
    detail: str = ""
    stem: str = ""


@dataclass(frozen=True)
class Track:
    """One recording: an audio file, or (offset, size) in bytes the part of a file that is one.

    rate: Hz; samples: length at that rate. kind: what the data set calls it. bleed: other instruments sound in it.
    gain: what the file's samples are multiplied with. stream: which audio stream of a container with several.
    """

    path: str
    rate: int
    samples: int
    kind: str = ""
    bleed: bool = False
    offset: int = 0
    size: int = 0
    gain: float = 1.0
    stream: int = 0

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

    @contextlib.contextmanager
    def open(self) -> Iterator[Decoder]:
        """The decoder of the track, for a `with`. Raises StageError where the file cannot be read."""
        try:
            with open_file(self.path) as raw:
                part = Part(raw, self.offset, self.size) if self.size else raw
                with open_decoder(part, self.path, self.stream) as decoder:
                    yield decoder
        except OSError as error:
            raise StageError(f"{self.path} cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def _decode(self, start: int, samples: int) -> np.ndarray:
        """float32 [<= samples] from within the track: the mean of its channels, or one of them; see `to_mono`."""
        with self.open() as decoder:
            audio = decoder.read(start, start + samples)
        if len(audio) == 1:
            return audio[0]
        # the choice is the file's, so that two crops of it fit together; most crops show that nothing cancels
        with np.errstate(over="ignore", invalid="ignore"):
            mean = audio.mean(0, dtype=np.float32)
            cancels = rms(mean) < 10 * CANCELS * max(map(rms, audio))
            channel = _channel(self) if cancels else None
        return mean if channel is None else audio[channel]

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
    """A file for reading, on disk or at a URL that fsspec opens (s3://bucket/shard.tar). Raises OSError as `open`
    does."""
    if "://" not in str(path):
        return open(path, "rb")
    try:
        import fsspec
    except ImportError:
        raise MissingExtra("reading from an object store", "train") from None
    try:
        return fsspec.open(str(path), "rb").open()
    except OSError:
        raise
    except Exception as error:  # of the store's own package: no credentials, no such bucket, no such protocol
        raise StageError(f"{path} cannot be opened: {' '.join(str(error).split())}") from None


@dataclass(frozen=True, eq=False, repr=False)
class Song:
    """A song. It is complete in itself: everything is read through it, without its data set.

    rate: Hz; samples: length at that rate, of the longest track. stems: role ("drums", "bass", "guitar", "keys",
    "vocals", "other", ...) -> its tracks. beats: float64 [n, 2], seconds and the place in the bar (1 = downbeat); None
    where unknown. key: like "C# minor". split: the data set's own, None where it has none. chords: [{start, end, root
    (0..11 or None), pitch_classes, name}], seconds; None where unknown. loudness: role -> LUFS. sounding: role ->
    float32 [m], the peak in each 0.1 s. Only prepared songs have the last two.
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


@lru_cache(4096)
def _channel(track: Track) -> int | None:
    """The channel of a track that stands for all, None for their mean; decided from the whole track."""
    energies, total = [], 0.0
    with track.open() as decoder:
        for start in range(0, track.samples, BLOCK):
            audio = decoder.read(start, min(track.samples, start + BLOCK))
            energies.append(np.square(audio, dtype=np.float64).sum(1))
            total += float(np.square(audio.mean(0, dtype=np.float32), dtype=np.float64).sum())
    return loudest(np.sqrt(np.sum(energies, axis=0)), math.sqrt(total))


def probe(path: str, stream: int = 0, **about: Any) -> Track:
    """The Track of an audio file, or of one of its streams. Raises StageError with what is wrong with the file.

    Where the header does not hold the length, the end of the file is decoded; of a bare stream of frames, all of it.
    """
    track = Track(str(path), 0, 0, stream=stream, **about)
    with track.open() as decoder:
        samples = int(min(decoder.count(), round(min(decoder.length * decoder.rate, 2**62))))
    if not samples:
        raise StageError(f"{path} holds no audio")
    return replace(track, rate=decoder.rate, samples=samples)
