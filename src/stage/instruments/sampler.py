"""Plays notes on an SFZ instrument: sample-accurate starts, envelopes, loops, choke groups, round robin, velocity.

Every note is computed whole and added where it starts, so that the sound of a piece does not depend on how it is cut.
Equal hits differ a little, by a seed: in level and in brightness, not in pitch, so that a sample is resampled once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stage.instruments import envelopes
from stage.instruments.room import reverberate
from stage.instruments.samples import Samples, loop_of
from stage.instruments.sfz import Instrument, Region
from stage.notes import Note

FAST = 0.006
"""Seconds in which a choked sound fades."""
QUIET = 10 ** (-80 / 20)
"""Gain below which a sound is left out."""
VARIED_DB, VARIED_TONE = 0.7, 0.12
"""Standard deviations of the differences between equal hits: level in dB, share of the treble."""


@dataclass
class _Voice:
    """A sounding region: where it starts, is released and is choked (samples of the result), its gains and pitch."""

    region: Region
    start: int
    held: int
    stop: int | None
    gain: tuple[float, float]
    treble: float
    cents: float
    cutoff: float | None


class Sampler:
    """An instrument at a sampling rate.

    instrument: as `stage.instruments.load` returns it. rate: of the result, Hz. varied: how much equal hits differ, 1
    as usual, 0 not at all. room: level of the room's sound beside the direct sound, 0 (none) to 1.
    Raises StageError where a sample cannot be read, when it is first played.
    """

    def __init__(self, instrument: Instrument, rate: int, varied: float = 1.0, room: float = 0.0):
        self.instrument, self.rate, self.varied, self.room = instrument, rate, varied, room
        self._samples = Samples(instrument, rate)
        self._by_key: dict[int, list[Region]] = {
            key: [region for region in instrument.regions if region.lokey <= key <= region.hikey] for key in range(128)
        }

    def keys(self) -> list[int]:
        """MIDI keys that have a sound."""
        return [key for key, regions in self._by_key.items() if regions]

    def render(self, notes: Sequence[Note], seconds: float, seed: int = 0, cents: float = 0.0) -> np.ndarray:
        """Notes -> float32 [2, round(seconds * rate)]; what rings beyond is cut.

        seed: of the small differences between equal hits. cents: tuning of all notes against A = 440 Hz.
        """
        out = np.zeros((2, round(seconds * self.rate)), np.float32)
        for voice in self._voices(sorted(notes), seed, cents):
            if voice.start < out.shape[1]:
                self._add(out, voice)
        return reverberate(out, self.rate, self.room) if self.room else out

    # ------------------------------------------------------------ which regions sound

    def _voices(self, notes: Sequence[Note], seed: int, cents: float) -> list[_Voice]:
        draws = np.random.default_rng([seed, 1])
        voices: list[_Voice] = []
        open_voices: dict[int, list[_Voice]] = {}  # by off_by, those that can still be choked
        turns: dict[int, int] = {}
        for note in notes:
            draw, louder, brighter = draws.random(), draws.normal(), draws.normal()
            turn = turns[note.pitch] = turns.get(note.pitch, -1) + 1
            chosen = [r for r in self._by_key.get(note.pitch, ()) if _answers(r, note, draw, turn)]
            start = round(note.start * self.rate)
            for group in {region.group for region in chosen if region.group}:
                for voice in open_voices.pop(group, ()):
                    voice.stop = start
            for region in chosen:
                voice = self._voice(region, note, start, cents, louder * self.varied, brighter * self.varied)
                voices.append(voice)
                if region.off_by:
                    open_voices.setdefault(region.off_by, []).append(voice)
        return voices

    def _voice(self, region: Region, note: Note, start: int, cents: float, louder: float, brighter: float) -> _Voice:
        tuned = region.tune + 100 * region.transpose + cents
        tuned += region.pitch_keytrack * (note.pitch - region.pitch_keycenter)
        gain = _gain(region, note) * 10 ** (VARIED_DB * louder / 20)
        start += round(region.ampeg_delay * self.rate)
        cutoff = envelopes.cutoff(region, self.rate, note.pitch, note.velocity)
        held = max(round(note.end * self.rate) - start, 1)
        return _Voice(region, start, held, None, _pan(region.pan, gain), VARIED_TONE * brighter, tuned, cutoff)

    # ------------------------------------------------------------ what they sound like

    def _add(self, out: np.ndarray, voice: _Voice) -> None:
        """Add a voice to the result."""
        region, skip = voice.region, max(-voice.start, 0)
        most = self._length(voice, out.shape[1] - voice.start)
        if most <= skip or max(voice.gain) < QUIET:
            return
        once = region.loop_mode == "one_shot"
        curve = envelopes.level(region, self.rate, most, most if once else voice.held)
        count = most if curve is None else len(curve)
        if voice.stop is not None:
            curve = np.ones(count, np.float32) if curve is None else curve.copy()
            envelopes.choke(curve, max(voice.stop - voice.start, 0), self._fade(region))
        swept = bool(region.fileg_depth) and voice.cutoff is not None
        sound = self._samples.sounding(region, voice.cents, None if swept else voice.cutoff, count)
        audio = sound.audio
        count = min(audio.shape[1], count)
        if count <= skip:
            return
        if swept:
            cutoffs = envelopes.sweep(region, self.rate, voice.cutoff or 0.0, count, most if once else voice.held)
            part = envelopes.low_pass(audio[:, :count], self.rate, cutoffs, region.resonance)[:, skip:]
        elif voice.treble:
            part = audio[:, skip:count] + np.float32(voice.treble) * sound.treble(self.rate)[:, skip:count]
        else:
            part = audio[:, skip:count]
        if curve is not None:
            part = part * curve[skip:count]
        first = max(voice.start, 0)
        for channel, gain in enumerate(voice.gain):
            source = part[min(channel, len(part) - 1)]
            out[channel, first : first + len(source)] += np.float32(gain) * source

    def _length(self, voice: _Voice, room: int) -> int:
        """Samples of a voice that may sound in `room` samples."""
        region = voice.region
        most = room
        if region.loop_mode != "one_shot":
            release = max(region.ampeg_release, envelopes.SHORTEST)
            most = min(most, voice.held + round(min(release, envelopes.LONGEST) * self.rate))
        if voice.stop is not None:
            most = min(most, max(voice.stop - voice.start, 0) + self._fade(region))
        sample = self._samples.file(region.sample)
        if loop_of(region, sample) is None:
            factor = self.rate / sample.rate * 2 ** (-max(-9600.0, min(9600.0, voice.cents)) / 1200)
            most = min(most, math.ceil((sample.frames + 1) * factor))
        return most

    def _fade(self, region: Region) -> int:
        return round((FAST if region.off_mode == "fast" else max(region.ampeg_release, FAST)) * self.rate)


def _answers(region: Region, note: Note, draw: float, turn: int) -> bool:
    """Whether a region sounds for a note of its keys: velocity, random choice, round robin."""
    return (
        region.lovel <= note.velocity <= region.hivel
        and region.lorand <= draw
        and (draw < region.hirand or region.hirand >= 1)
        and turn % max(region.seq_length, 1) == region.seq_position - 1
    )


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
