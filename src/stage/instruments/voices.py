"""A sounding region of an instrument: its gains, its envelope, and its sound, computed part by part as it is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stage.instruments import envelopes
from stage.instruments.samples import Samples, loop_of
from stage.instruments.sfz import Region
from stage.notes import Note

FAST = 0.006
"""Seconds in which a choked sound fades."""
QUIET = 10 ** (-80 / 20)
"""Gain below which a sound is left out."""
VARIED_DB, VARIED_TONE = 0.7, 0.12
"""Standard deviations of the differences between equal hits: level in dB, share of the treble."""
FOREVER = 1 << 60
"""Samples for which what has no end lasts."""


@dataclass(eq=False)
class Voice:
    """A region that sounds. Times are samples: `start` of the piece, the others count from there.

    held: until the key is released; it may be corrected as long as that has not been heard. stop: when it is choked,
    None: not yet. gain: of left and right. treble: share of the treble that is added. cents, cutoff: as `Samples` takes
    them. position: what was computed of it; over: whether there is no more.
    """

    region: Region
    start: int
    held: int
    gain: tuple[float, float]
    treble: float
    cents: float
    cutoff: float | None
    stop: int | None = None
    position: int = 0
    over: bool = False
    _filter: envelopes.LowPass | None = None

    @classmethod
    def of(cls, region: Region, note: Note, rate: int, cents: float, louder: float, brighter: float) -> Voice:
        """The voice of a note in a region. louder, brighter: in standard deviations from the usual hit."""
        tuned = region.tune + 100 * region.transpose + cents
        tuned += region.pitch_keytrack * (note.pitch - region.pitch_keycenter)
        gain = _pan(region.pan, _gain(region, note) * 10 ** (VARIED_DB * louder / 20))
        start = round(note.start * rate) + round(region.ampeg_delay * rate)
        cutoff = envelopes.cutoff(region, rate, note.pitch, note.velocity)
        voice = cls(region, start, 1, gain, VARIED_TONE * brighter, tuned, cutoff, over=max(gain) < QUIET)
        voice.hold(round(note.end * rate))
        return voice

    def hold(self, end: int) -> None:
        """Let the key be released at sample `end` of the piece."""
        self.held = max(end - self.start, 1)

    def add(self, out: np.ndarray, first: int, samples: Samples) -> None:
        """Add what of it sounds in `out` [2, n], the samples of the piece from `first` on. Parts follow each other."""
        low, high = self.position, first + out.shape[1] - self.start
        if high <= low or self.over:
            return
        part = self._sound(low, high, samples)
        self.position, self.over = high, part.shape[1] < high - low
        skip = max(first - self.start - low, 0)  # what lies before the first sample of the piece
        at = max(self.start - first, 0)
        for channel, gain in enumerate(self.gain):
            source = part[min(channel, len(part) - 1), skip:]
            out[channel, at : at + len(source)] += np.float32(gain) * source

    def _sound(self, low: int, high: int, samples: Samples) -> np.ndarray:
        """Its samples `low` to `high`, without its gain: float32 [C, n], shorter where it ends."""
        region, rate = self.region, samples.rate
        held = FOREVER if region.loop_mode == "one_shot" else self.held
        end = min(high, self._length(samples))
        if end <= low:
            return np.zeros((1, 0), np.float32)
        curve = envelopes.level(region, rate, low, end, held)
        end = end if curve is None else low + len(curve)
        if self.stop is not None:
            curve = np.ones(end - low, np.float32) if curve is None else curve
            envelopes.choke(curve, low, self.stop, self._fade(rate))
        swept = bool(region.fileg_depth) and self.cutoff is not None
        sound = samples.sounding(region, self.cents, None if swept else self.cutoff, end)
        part = sound.audio[:, low:end]
        if swept and part.shape[1]:
            part = self._swept(part, low, held, rate)
        elif self.treble:
            part = part + np.float32(self.treble) * sound.treble()[:, low:end]
        return part if curve is None else part * curve[: part.shape[1]]

    def _swept(self, part: np.ndarray, low: int, held: int, rate: int) -> np.ndarray:
        """A part that begins at sample `low`, through the low pass whose cutoff moves."""
        region, step = self.region, envelopes.STEP
        if self._filter is None:
            self._filter = envelopes.LowPass(rate, region.resonance, len(part))
        last = (low + part.shape[1] - 1) // step + 1
        return self._filter.push(part, envelopes.sweep(region, rate, self.cutoff or 0.0, low // step, last, held))

    def _length(self, samples: Samples) -> int:
        """Samples of it that may sound, as far as it is known."""
        region, rate = self.region, samples.rate
        most = FOREVER
        if region.loop_mode != "one_shot":
            release = max(region.ampeg_release, envelopes.SHORTEST)
            most = self.held + round(min(release, envelopes.LONGEST) * rate)
        if self.stop is not None:
            most = min(most, self.stop + self._fade(rate))
        sample = samples.file(region.sample)
        if loop_of(region, sample) is None:
            factor = rate / sample.rate * 2 ** (-max(-9600.0, min(9600.0, self.cents)) / 1200)
            most = min(most, math.ceil((sample.frames + 1) * factor))
        return most

    def choke(self, at: int) -> None:
        """Silence it at sample `at` of the piece."""
        self.stop = max(at - self.start, 0)

    def _fade(self, rate: int) -> int:
        region = self.region
        return round((FAST if region.off_mode == "fast" else max(region.ampeg_release, FAST)) * rate)


def _gain(region: Region, note: Note) -> float:
    """Gain of a region for a note: volume, velocity (its square, as SFZ has it), crossfades."""
    velocity = max(1, min(127, note.velocity))
    track = region.amp_veltrack / 100
    loud = (velocity / 127) ** 2
    by_velocity = max(0.0, 1 - track * (1 - loud) if track >= 0 else 1 + track * loud)
    volume = region.volume + region.global_volume + region.master_volume + region.group_volume
    gain = 10 ** (max(-400.0, min(volume, 48.0)) / 20) * region.amplitude / 100 * by_velocity
    gain *= _fade_in(note.pitch, region.xfin_lokey, region.xfin_hikey)
    gain *= _fade_out(note.pitch, region.xfout_lokey, region.xfout_hikey)
    gain *= _fade_in(velocity, region.xfin_lovel, region.xfin_hivel)
    return gain * _fade_out(velocity, region.xfout_lovel, region.xfout_hivel)


def _fade_in(value: int, low: int, high: int) -> float:
    """0 below `low`, 1 from `high` on, equal power between."""
    if high <= low:
        return 1.0 if value >= low else 0.0
    return math.sqrt(min(1.0, max(0.0, (value - low) / (high - low))))


def _fade_out(value: int, low: int, high: int) -> float:
    """1 up to `low`, 0 from `high` on, equal power between."""
    if high <= low:
        return 1.0 if value <= high else 0.0
    return math.sqrt(min(1.0, max(0.0, (high - value) / (high - low))))


def _pan(pan: float, gain: float) -> tuple[float, float]:
    """Gains of left and right for pan -100..100, equal power, `gain` for both in the middle."""
    angle = (max(-100.0, min(100.0, pan)) / 100 + 1) * math.pi / 4
    return gain * math.cos(angle) * math.sqrt(2), gain * math.sin(angle) * math.sqrt(2)
