"""What is handed off: tracks of sound and notes on one time line, in a form that no program owns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from stage.audio.files import fit
from stage.audio.level import mix_gain
from stage.audio.wave import Tempo
from stage.beats.grid import BeatGrid, click_track
from stage.chords.chart import Chart
from stage.chords.symbols import NO_CHORD
from stage.generation.request import CLICK_GAIN
from stage.midi import DRUM_CHANNEL, Part
from stage.midi_writing import TempoMap
from stage.notes import Note
from stage.session import sounds

COUNT_IN = "count-in"
"""Name of the track of its clicks, and of its marker."""
SCALE = (0, 2, 4, 5, 7, 9, 11)
STEADY = 0.02
"""Share by which the beats may differ in length where one tempo stands for all."""
ALIKE = 1e-9
"""Share by which two tempi differ that are one but for rounding: a microsecond in a quarter of an hour."""


@dataclass(frozen=True, eq=False)
class Strip:
    """A track: its sound float32 [C, N] without gain and pan, its notes (None: it has none), their General MIDI
    program. pieces: of the drums, each alone. song: whether it is the recording itself."""

    name: str
    audio: np.ndarray
    notes: tuple[Note, ...] | None = None
    stem: str = ""
    program: int = 0
    gain: float = 0.0
    pan: float = 0.0
    mute: bool = False
    pieces: Callable[[], Iterable[tuple[str, np.ndarray]]] | None = None
    song: bool = False


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Tracks that begin together and are equally long.

    start: where they begin in the recording, in samples. grid: beats in seconds from their beginning; None: 120 BPM
    stands in. markers: seconds and names of sections.
    """

    name: str
    rate: int
    samples: int
    strips: tuple[Strip, ...]
    grid: BeatGrid | None = None
    chart: Chart | None = None
    markers: tuple[tuple[float, str], ...] = ()
    start: int = 0

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @cached_property
    def clock(self) -> Clock:
        return Clock.of(self.grid, self.seconds)

    @property
    def channels(self) -> int:
        """Of the mix: as many as a track has, and two where one stands on a side."""
        return max((max(len(strip.audio), 2 * bool(strip.pan)) for strip in self.strips), default=2)

    def mix(self) -> np.ndarray:
        """All that is not muted, with gains and pans, by one gain below full scale: float32 [C, N]."""
        channels = self.channels
        played = [strip for strip in self.strips if not strip.mute]
        song = next((strip.audio for strip in played if strip.song and len(strip.audio) > 2), None)
        placed = (sounds.placed(s.audio, min(2, channels), s.gain, s.pan) for s in played if song is None or not s.song)
        both = sounds.together(song, placed, channels, self.samples)
        return both * np.float32(10 ** (mix_gain(both, np.zeros((1, self.samples), np.float32)) / 20))

    def counted_in(self, bars: int) -> Arrangement:
        """The same after a count-in of so many bars (`BeatGrid.counted_in`), whose clicks are a track; 0: itself.

        It begins earlier in the recording, as far as there is some. Raises StageError where no beats are known.
        """
        if not bars:
            return self
        grid, more, counted = (self.grid or BeatGrid.empty()).counted_in(bars, self.rate)
        seconds = more / self.rate
        clicks = CLICK_GAIN * click_track(counted, self.seconds + seconds, self.rate)
        strips = [Strip(COUNT_IN, fit(clicks, self.samples + more)[None])]
        strips += [replace(strip, **_later(strip, more, self.rate)) for strip in self.strips]
        markers = ((0.0, COUNT_IN), *((second + seconds, name) for second, name in self.markers or ((0.0, "start"),)))
        chart = None if self.chart is None else self.chart.shift(seconds)
        start = max(0, self.start - more)
        return Arrangement(self.name, self.rate, self.samples + more, tuple(strips), grid, chart, markers, start)

    def parts(self) -> list[Part]:
        """The notes as parts of a MIDI file: drums on channel 10, the others on channels of their own."""
        free = iter([channel for channel in range(16) if channel != DRUM_CHANNEL] * 8)
        made = []
        for strip in self.strips:
            if strip.notes is not None:
                channel = DRUM_CHANNEL if strip.stem == "drums" else next(free)
                made.append(Part(strip.name, channel, strip.program, notes=list(strip.notes)))
        return made

    def tempo(self) -> Tempo | None:
        """What loop players are told; None where the tempo is not steady or not known."""
        if self.grid is None or len(self.grid) < 3:
            return None
        gaps = np.diff(self.grid.times)
        if gaps.max() > gaps.min() * (1 + STEADY):
            return None
        quarter = 1.5 if self.grid.division == 3 else 1.0
        bpm = self.grid.bpm * quarter
        return Tempo(bpm, round(self.seconds * bpm / 60), self.clock.metres[0][1:], key_of(self.chart))


def _later(strip: Strip, samples: int, rate: int) -> dict[str, Any]:
    """Sound, notes and pieces of a track that begins so many samples later."""

    def padded(audio: np.ndarray) -> np.ndarray:
        return np.pad(audio, ((0, 0), (samples, 0)))

    notes, pieces = strip.notes, strip.pieces
    if notes is not None:
        shift = samples / rate
        notes = tuple(note._replace(start=note.start + shift, end=note.end + shift) for note in notes)
    made: dict[str, Any] = {"audio": padded(strip.audio), "notes": notes}
    return made if pieces is None else made | {"pieces": lambda: ((name, padded(sound)) for name, sound in pieces())}


@dataclass(frozen=True, eq=False)
class Clock:
    """Quarters of seconds, exactly: piecewise straight between the beats.

    seconds, quarters: float64 [n] of the beats from second 0 on. metres: (quarter, upper, lower) where they change.
    """

    seconds: np.ndarray
    quarters: np.ndarray
    metres: tuple[tuple[float, int, int], ...]

    @classmethod
    def of(cls, grid: BeatGrid | None, seconds: float) -> Clock:
        """The clock of a grid; beats of 120 BPM stand in where there is none."""
        if grid is None or (grid.times > -1e-9).sum() < 2:
            grid = BeatGrid.regular(120, 4, seconds + 1)
        map = TempoMap(grid.times, grid.numbers, grid.division)
        beat = 1.5 if map.compound else 1.0
        metres = tuple(
            (tick / map.beat * beat, values["numerator"], values["denominator"])
            for tick, kind, values in map.events()
            if kind == "time_signature"
        )
        return cls(map.seconds, np.arange(len(map.seconds)) * beat, metres)

    @property
    def tempi(self) -> list[tuple[float, float, float]]:
        """(second, quarter, quarters a minute) where the tempo changes."""
        paces = 60 * np.diff(self.quarters) / np.diff(self.seconds)
        made: list[tuple[float, float, float]] = []
        for second, quarter, pace in zip(self.seconds.tolist(), self.quarters.tolist(), paces.tolist()):
            if not made or abs(pace / made[-1][2] - 1) > ALIKE:
                made.append((second, quarter, pace))
        return made

    def quarter(self, second: float) -> float:
        """The place of a time; after the last beat its tempo goes on."""
        last = len(self.seconds) - 1
        at = min(max(int(np.searchsorted(self.seconds, second, side="right")) - 1, 0), last - 1)
        share = (second - self.seconds[at]) / (self.seconds[at + 1] - self.seconds[at])
        return float(self.quarters[at] + share * (self.quarters[at + 1] - self.quarters[at]))


def key_of(chart: Chart | None) -> int | None:
    """The pitch class of the key's tonic, by the chords: of the major scale that has most of their tones in time, the
    tonic of major or minor, whichever chord sounds longer. None where no chord is known."""
    if chart is None:
        return None
    spans = [(s.end - s.start, s.chord) for s in chart if s.chord != NO_CHORD and s.chord.classes]
    if not spans:
        return None

    def sounding(root: int, third: int) -> float:
        tones = {root % 12, (root + third) % 12}
        return sum(length for length, chord in spans if chord.root == root % 12 and tones <= set(chord.classes))

    def inside(root: int) -> float:
        scale = {(root + step) % 12 for step in SCALE}
        return sum(length * len(scale & set(chord.classes)) / len(chord.classes) for length, chord in spans)

    best = max(range(12), key=lambda root: (round(inside(root), 6), sounding(root, 4) + sounding(root + 9, 3)))
    return best if sounding(best, 4) >= sounding(best + 9, 3) else (best + 9) % 12
