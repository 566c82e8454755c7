"""Audio of samples: reading, loops, and resampling to a pitch and a rate, kept for the next note."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stage.errors import StageError
from stage.instruments.envelopes import STEP, LowPass
from stage.instruments.sfz import Instrument, Region

KEPT = 256 << 20
"""Bytes of resampled samples that stay in memory."""
MOST_FRAMES = 1 << 26
"""Longest sample that is read, samples of a channel."""
GRAIN = 0.5
"""Seconds in whose multiples samples are resampled."""
SEAM = 0.002
"""Seconds in which the end of a sample fades, so that none clicks."""
CROSSING = 3500.0
"""Where the treble begins, Hz."""
QUALITY = "HQ"
"""Of soxr."""


@dataclass
class Sample:
    """A sample as its file has it: frames, Hz, its loop (first, last) or None; its audio is read as far as needed.

    read: frames -> at least that many, or all, float32 [C, n] (C is 1 or 2).
    """

    frames: int
    rate: int
    loop: tuple[int, int] | None
    read: Callable[[int], np.ndarray]
    _audio: np.ndarray | None = None

    def audio(self, frames: int) -> np.ndarray:
        """The first `frames` of the sample, or all there are: float32 [C, n]."""
        frames = min(frames, self.frames)
        if self._audio is None or self._audio.shape[1] < frames:
            known = 0 if self._audio is None else self._audio.shape[1]
            self._audio = self.read(min(self.frames, max(frames, self.rate, 2 * known)))
        return self._audio[:, :frames]


class Sound:
    """A region's sample as it sounds at some pitch, made as far as it is needed.

    sample, offset, end, loop: what of it is played, samples; a loop goes on without end. source: Hz at which the sample
    is taken, for a sound at `rate`. cutoff, resonance: of a low pass, None without.
    """

    def __init__(
        self,
        sample: Sample,
        offset: int,
        end: int,
        loop: tuple[int, int] | None,
        source: float,
        rate: int,
        cutoff: float | None,
        resonance: float,
    ):
        self.sample, self.offset, self.end, self.loop = sample, max(offset, 0), end, loop
        self.source, self.rate, self.cutoff = source, rate, cutoff
        self.whole = False
        """Whether there is no more of it."""
        self._read = 0  # samples of the source that were taken
        self._resampler: Any = None
        channels = len(sample.audio(1))
        self._held = np.zeros((channels, 0), np.float32)  # may still be part of the end, which fades
        self._low = None if cutoff is None else LowPass(rate, resonance, channels)
        self._made = _Grown(channels)
        self._treble: tuple[_Grown, np.ndarray] | None = None

    @property
    def audio(self) -> np.ndarray:
        """What is made, float32 [C, n]."""
        return self._made.all

    @property
    def nbytes(self) -> int:
        """Of memory, without the treble."""
        return self._made.nbytes

    def extend(self, most: int) -> None:
        """Make at least `most` samples, or all there are."""
        ratio = self.source / self.rate
        while not self.whole and self._made.size < most:
            self._take(math.ceil((most - self._made.size + 64) * ratio) + 64)

    def treble(self) -> np.ndarray:
        """What of the made audio lies above CROSSING, float32 [C, n]."""
        from scipy.signal import lfilter

        pole = math.exp(-2 * math.pi * min(CROSSING, 0.3 * self.rate) / self.rate)
        known, state = self._treble or (_Grown(len(self.audio)), np.zeros((len(self.audio), 1), np.float32))
        if known.size < self._made.size:
            new = self.audio[:, known.size :]
            low, state = lfilter(np.float32([1 - pole]), np.float32([1, -pole]), new, axis=1, zi=state)
            known.add(new - low.astype(np.float32))
            self._treble = known, state
        return known.all

    def _take(self, count: int) -> None:
        """Resample `count` samples more of the source, fade them if they are the last, and filter them."""
        import soxr

        part = self._source(count)
        self._read += part.shape[1]
        self.whole = not self.loop and (self._read >= self.end - self.offset or not part.shape[1])
        if abs(self.source / self.rate - 1) > 1e-9 and part.shape[1]:  # soxr waits for a first sample
            if self._resampler is None:
                self._resampler = soxr.ResampleStream(self.source, self.rate, len(part), "float32", QUALITY)
            frames = np.ascontiguousarray(part.T, np.float32)
            part = self._resampler.resample_chunk(frames, last=self.whole).reshape(-1, len(part)).T
        part = np.concatenate([self._held, part], axis=1)
        fade = min(part.shape[1], round(SEAM * self.rate))
        self._held = part[:, :0]
        if self.whole:
            part[:, part.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
            self._resampler = None
        elif not self.loop:
            part, self._held = part[:, : part.shape[1] - fade], part[:, part.shape[1] - fade :]
        if self._low is not None and part.shape[1]:
            steps = (self._low.position + part.shape[1] - 1) // STEP - self._low.position // STEP + 1
            part = self._low.push(np.ascontiguousarray(part), np.full(steps, self.cutoff))
        self._made.add(part)

    def _source(self, count: int) -> np.ndarray:
        """The next `count` samples of the source, or what is left, float32 [C, n]; its loop unrolled."""
        first = self.offset + self._read
        if not self.loop:
            return self.sample.audio(min(first + count, self.end))[:, first:]
        start, last = self.loop
        at = np.arange(first, first + count)
        at = np.where(at <= last, at, start + (at - start) % (last + 1 - start))
        return self.sample.audio(last + 1)[:, at]


class _Grown:
    """Audio float32 [C, n] that grows at its end, without a copy of all of it each time."""

    def __init__(self, channels: int):
        self._buffer, self.size = np.zeros((channels, 0), np.float32), 0

    @property
    def all(self) -> np.ndarray:
        """All of it, a view."""
        return self._buffer[:, : self.size]

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self._buffer.nbytes

    def add(self, part: np.ndarray) -> None:
        """Append [C, n]."""
        size = self.size + part.shape[1]
        if size > self._buffer.shape[1]:
            grown = np.empty((len(self._buffer), size if not self.size else max(size, 2 * self.size)), np.float32)
            grown[:, : self.size] = self.all
            self._buffer = grown
        self._buffer[:, self.size : size] = part
        self.size = size


class Samples:
    """Samples of an instrument, resampled to `rate` Hz where they are needed."""

    def __init__(self, instrument: Instrument, rate: int):
        self.instrument, self.rate = instrument, rate
        self._files: dict[str, Sample] = {}
        self._kept: OrderedDict[tuple, Sound] = OrderedDict()
        self._size = 0

    def file(self, name: str) -> Sample:
        """The sample of this name. Raises StageError where it cannot be read."""
        if name not in self._files:
            own = self.instrument.samples
            self._files[name] = own(name) if own else read_sample(self.instrument.folder / name)
        return self._files[name]

    def sounding(self, region: Region, cents: float, cutoff: float | None, most: int) -> Sound:
        """A region's sample, `cents` higher than recorded, at the rate, its loop unrolled.

        cutoff: Hz of the region's low pass, None without. most: samples of the result that are needed; there are at
        least so many unless the sample is shorter.
        """
        sample = self.file(region.sample)
        loop = loop_of(region, sample)
        cents = round(max(-9600.0, min(9600.0, cents)))  # whole cents, so that the next note finds it
        cutoff = None if cutoff is None else 2.0 ** (round(math.log2(cutoff) * 24) / 24)
        resonance = region.resonance if cutoff else 0.0
        key = (region.sample, region.offset, region.end, loop, cents, cutoff, resonance)
        sound = self._kept.pop(key, None)
        if sound is None:
            end = min(sample.frames, region.end + 1 if region.end >= 0 else sample.frames)
            source = sample.rate * 2 ** (cents / 1200)
            sound = Sound(sample, region.offset, end, loop, source, self.rate, cutoff, resonance)
        grain = round(GRAIN * self.rate)
        before = sound.nbytes
        sound.extend(-(-most // grain) * grain)
        self._kept[key] = sound  # the latest
        self._size += sound.nbytes - before
        while self._size > KEPT and len(self._kept) > 1:
            self._size -= self._kept.popitem(last=False)[1].nbytes
        return sound


def check(instrument: Instrument) -> None:
    """Raise StageError where a sample's file is no audio of one or two channels: by its header, before it is played."""
    import soundfile

    for name in sorted({region.sample for region in instrument.regions}):
        path = instrument.folder / name
        try:
            info = soundfile.info(str(path))
        except (OSError, RuntimeError, ValueError) as error:
            raise StageError(f"the sample {path} cannot be read: {_why(error)}") from None
        _check_size(path, info.channels, info.frames)


def _check_size(path: Path, channels: int, frames: int) -> None:
    if not 1 <= channels <= 2 or not 0 < frames <= MOST_FRAMES:
        raise StageError(
            f"the sample {path} has {channels} channels and {frames} frames: 1 or 2 channels and 1 to {MOST_FRAMES}"
            " frames can be played"
        )


def _why(error: Exception) -> str:
    """What libsndfile says, without the path that it repeats."""
    return (str(error).splitlines() or [type(error).__name__])[-1].split(": ", 1)[-1]


def read_sample(path: Path) -> Sample:
    """A sample of a file. Raises StageError, here or when audio is read, for what is not one or two channels."""
    (frames, rate, channels), audio = _decoded(path, None)
    _check_size(path, channels, frames)
    return Sample(frames, rate, _wav_loop(path), lambda most: _decoded(path, most)[1], audio)


def _decoded(path: Path, most: int | None) -> tuple[tuple[int, int, int], np.ndarray]:
    """(frames, Hz, channels) of a file, and its first `most` frames, a second of them by default: float32 [C, n]."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            most = min(file.frames, file.samplerate) if most is None else most
            audio = (
                file.read(most, dtype="float32", always_2d=True).T if file.frames <= MOST_FRAMES else np.zeros((1, 0))
            )
            header = file.frames, file.samplerate, file.channels
    except (OSError, RuntimeError, ValueError) as error:
        raise StageError(f"the sample {path} cannot be read: {_why(error)}") from None
    if audio.shape[1] < most or not np.isfinite(audio).all():
        raise StageError(f"the sample {path} is damaged: not all of its {header[0]} frames are finite samples")
    return header, np.ascontiguousarray(audio)


def _wav_loop(path: Path) -> tuple[int, int] | None:
    """The first loop of a WAV's `smpl` chunk."""
    data = path.read_bytes() if path.suffix.lower() == ".wav" else b""
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"smpl":
            if at + 68 > len(data) or not int.from_bytes(data[at + 36 : at + 40], "little"):
                return None
            first, last = (int.from_bytes(data[at + 52 + 4 * i : at + 56 + 4 * i], "little") for i in (0, 1))
            return (first, last) if first < last else None
        at += 8 + size + size % 2
    return None


def loop_of(region: Region, sample: Sample) -> tuple[int, int] | None:
    """First and last sample of a region's loop; None where it does not loop."""
    mode = region.loop_mode or ("loop_continuous" if sample.loop else "no_loop")
    if not mode.startswith("loop"):
        return None
    own = sample.loop or (0, sample.frames - 1)
    first = region.loop_start if region.loop_start >= 0 else own[0]
    last = region.loop_end if region.loop_end >= 0 else own[1]
    last = min(last, sample.frames - 1, region.end if region.end >= 0 else 1 << 62)
    return (first, last) if region.offset <= first < last else None
