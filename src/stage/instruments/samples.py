"""Audio of samples: reading, loops, and resampling to a pitch and a rate, kept for the next note."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stage.errors import StageError
from stage.instruments.envelopes import low_pass
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
            self._audio = self.read(min(self.frames, max(frames, self.rate)))
        return self._audio[:, :frames]


@dataclass
class Sound:
    """A sample as it sounds at some pitch: audio float32 [C, n]; whole: there is no more of it."""

    audio: np.ndarray
    whole: bool
    _treble: np.ndarray | None = None

    def treble(self, rate: int) -> np.ndarray:
        """What lies above CROSSING, float32 [C, n]."""
        if self._treble is None:
            from scipy.signal import lfilter

            pole = math.exp(-2 * math.pi * min(CROSSING, 0.3 * rate) / rate)
            low = lfilter(np.float32([1 - pole]), np.float32([1, -pole]), self.audio, axis=1)
            self._treble = self.audio - low.astype(np.float32)
        return self._treble


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
        """A region's sample, `cents` higher than recorded, at the rate: float32 [C, n], its loop unrolled.

        cutoff: Hz of the region's low pass, None without. most: samples of the result that are needed; n is at least
        that unless the sample is shorter.
        """
        sample = self.file(region.sample)
        loop = loop_of(region, sample)
        cents = round(max(-9600.0, min(9600.0, cents)))  # whole cents, so that the next note finds it
        cutoff = None if cutoff is None else 2.0 ** (round(math.log2(cutoff) * 24) / 24)
        key = (region.sample, region.offset, region.end, loop, cents, cutoff, region.resonance if cutoff else 0.0)
        if key in self._kept:
            self._kept.move_to_end(key)
            kept = self._kept[key]
            if kept.whole or kept.audio.shape[1] >= most:
                return kept
        grain = round(GRAIN * self.rate)
        made = self._make(region, sample, loop, cents, -(-most // grain) * grain)
        if cutoff is not None:
            made.audio = low_pass(made.audio, self.rate, np.array([cutoff]), region.resonance)
        self._keep(key, made)
        return made

    def _make(self, region: Region, sample: Sample, loop: tuple[int, int] | None, cents: int, most: int) -> Sound:
        """Cut or unroll, then resample to at least `most` samples, or to all there are."""
        import soxr

        source = sample.rate * 2 ** (cents / 1200)
        need = math.ceil((most + 64) * source / self.rate) + 64
        end = min(sample.frames, region.end + 1 if region.end >= 0 else sample.frames)
        whole = not loop and region.offset + need >= end
        audio = sample.audio(min(end, region.offset + need))[:, region.offset :]
        if loop and audio.shape[1] < need:
            audio = _unrolled(audio[:, : loop[1] + 1 - region.offset], loop[0] - region.offset, need)
        if audio.shape[1] and abs(source / self.rate - 1) > 1e-9:
            audio = soxr.resample(np.ascontiguousarray(audio.T), source, self.rate, quality=QUALITY).T
        audio = np.array(audio, np.float32, order="C")
        if whole:
            fade = min(audio.shape[1], round(SEAM * self.rate))
            audio[:, audio.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        return Sound(audio, whole)

    def _keep(self, key: tuple, sound: Sound) -> None:
        old = self._kept.pop(key, None)
        self._size += sound.audio.nbytes - (0 if old is None else old.audio.nbytes)
        self._kept[key] = sound
        while self._size > KEPT and len(self._kept) > 1:
            self._size -= self._kept.popitem(last=False)[1].audio.nbytes


def read_sample(path: Path) -> Sample:
    """A sample of a file. Raises StageError, here or when audio is read, for what is not one or two channels."""
    (frames, rate, channels), audio = _decoded(path, None)
    if not 1 <= channels <= 2 or not 0 < frames <= MOST_FRAMES:
        raise StageError(
            f"the sample {path} has {channels} channels and {frames} frames: 1 or 2 channels and 1 to {MOST_FRAMES}"
            " frames can be played"
        )
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
        raise StageError(f"the sample {path} cannot be read: {str(error).splitlines()[-1]}") from None
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


def _unrolled(audio: np.ndarray, first: int, need: int) -> np.ndarray:
    """Audio [C, n] with what comes from `first` on repeated until there are `need` samples."""
    times = -(-(need - first) // (audio.shape[1] - first))
    return np.concatenate([audio[:, :first], np.tile(audio[:, first:], times)], axis=1)[:, :need]
