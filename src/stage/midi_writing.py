"""Parts to MIDI files of type 1, with the tempo map and the bars of tracked beats, aligned to a recording's first
sample."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stage import files
from stage.midi import DRUM_CHANNEL, VOLUME, Part
from stage.notes import Note

if TYPE_CHECKING:
    from mido import MidiFile

TICKS = 960
"""Of a quarter note."""
SLOWEST, FASTEST = 0xFFFFFF, 1
"""Microseconds of a quarter that a file can hold, at most and at least."""
KEPT = 1e-4
"""Seconds by which a beat may be off before another tempo is written: below a tick, and steady beats keep one."""


class TempoMap:
    """Ticks of seconds, so that every beat falls on a whole number of beats: of quarters, or of dotted quarters where
    beats have three parts (6/8, 9/8, 12/8).

    times: beats in seconds, rising, two at least. numbers: of each in its bar, 1 = downbeat. division: parts of a beat,
    as in `BeatGrid`. Before the first beat and after the last the beats go on; the beats before second 0, if any, are
    left out, and the file begins at second 0.
    """

    def __init__(self, times: np.ndarray, numbers: np.ndarray, division: int = 1):
        times, numbers = np.asarray(times, np.float64), np.asarray(numbers, np.int64)
        if len(times) < 2 or len(times) != len(numbers) or (np.diff(times) <= 0).any():
            raise ValueError("a tempo map needs two beats or more that rise, and a number for each")
        bar = _usual(numbers)
        times, numbers = times[times > -1e-9].clip(0), numbers[times > -1e-9]
        if len(times) < 2:
            raise ValueError("a tempo map needs two beats from second 0 on")
        before = max(0, round(times[0] / (times[1] - times[0]))) or int(times[0] > 0)
        lead = times[0] * np.arange(before) / max(before, 1)  # beats that fill what lies before the first
        self.numbers = np.concatenate([(numbers[0] - 1 - np.arange(before, 0, -1)) % bar + 1, numbers])
        self.bar, self.compound = bar, division == 3
        self.beat = TICKS * 3 // 2 if self.compound else TICKS
        """Ticks of a beat."""
        self.seconds = np.concatenate([lead, times])
        """Of each beat, from 0 on, not rounded."""
        paces: list[int] = []
        now = 0.0
        while len(paces) < len(self.seconds) - 1:
            pace, count = self._longest(now, self.seconds[len(paces) + 1 :])
            paces += [pace] * count
            now += count * self._of_pace(pace)
        self.paces = paces
        """Of each beat, microseconds of a quarter."""
        self.beats = np.concatenate([[0.0], np.cumsum([self._of_pace(pace) for pace in paces])])

    def _longest(self, now: float, ends: np.ndarray) -> tuple[int, int]:
        """The pace that serves most beats from `now` on, all of which end within KEPT of `ends`, and how many."""
        low, high = FASTEST, SLOWEST
        pace, quarter = 0, self.beat / TICKS / 1e6
        for count, end in enumerate(ends, 1):
            exact, off = (end - now) / quarter / count, KEPT / quarter / count
            low, high = max(low, math.ceil(exact - off)), min(high, math.floor(exact + off))
            if low > high:
                break
            pace = min(max(round(exact), low), high)
        else:
            return pace, len(ends)
        return (pace, count - 1) if pace else (int(np.clip(round(exact), FASTEST, SLOWEST)), 1)

    def _of_pace(self, pace: int) -> float:
        return pace / 1e6 * self.beat / TICKS

    def tick(self, seconds: float) -> int:
        """The nearest tick of a time, from 0 on."""
        last = self.beats[-1]
        if seconds > last:
            return round((len(self.beats) - 1 + (seconds - last) / self._of_pace(self.paces[-1])) * self.beat)
        return round(float(np.interp(max(seconds, 0.0), self.beats, np.arange(len(self.beats)))) * self.beat)

    def events(self) -> Iterator[tuple[int, str, dict[str, int]]]:
        """(tick, kind, values) of tempi and time signatures. Beats before the first downbeat are a bar of their own,
        and so is a bar that is longer or shorter than the one before."""
        starts = [0, *(int(at) for at in np.flatnonzero(self.numbers == 1) if at)]
        known = None
        for start, end in zip(starts, [*starts[1:], None]):
            beats = self.bar if end is None else end - start  # the last one may be cut
            if beats != known:
                yield start * self.beat, "time_signature", self._signature(beats)
            known = beats
        known = None
        for beat, pace in enumerate(self.paces):
            if pace != known:
                yield beat * self.beat, "set_tempo", {"tempo": pace}
            known = pace

    def _signature(self, beats: int) -> dict[str, int]:
        """Of a bar of so many beats; the metronome of the file's reader clicks them."""
        upper, lower = (3 * beats, 8) if self.compound else (beats, 4)
        return {"numerator": min(upper, 255), "denominator": lower, "clocks_per_click": 24 * self.beat // TICKS}


def _usual(numbers: np.ndarray) -> int:
    """The most common number of beats of the whole bars; the highest number where there is no whole bar."""
    starts = np.flatnonzero(numbers == 1)
    return int(np.bincount(np.diff(starts)).argmax()) if len(starts) > 1 else max(1, int(numbers.max()))


def build(
    parts: Sequence[Part],
    times: np.ndarray,
    numbers: np.ndarray,
    division: int = 1,
    markers: Sequence[tuple[float, str]] = (),
) -> MidiFile:
    """Parts as a MIDI file of type 1: tempi and bars in a first track, then a track for each part.

    times, numbers, division: the beats, see `TempoMap`. Channels and programs are those of the parts. markers: seconds
    and words, in the first track.
    """
    import mido

    clock = TempoMap(times, numbers, division)
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS)
    first = [(tick, mido.MetaMessage(kind, **values)) for tick, kind, values in clock.events()]
    first += [(clock.tick(at), mido.MetaMessage("marker", text=_latin(words))) for at, words in markers]
    file.tracks.append(_track(mido, first))
    for part in parts:
        about = [(0, mido.MetaMessage("track_name", name=_latin(part.name)))]
        about.append((0, mido.Message("program_change", channel=part.channel, program=part.program)))
        about.append((0, mido.Message("control_change", channel=part.channel, control=VOLUME, value=part.volume)))
        for start, end, pitch, velocity in _strokes(part, clock):
            shared = {"channel": part.channel, "note": pitch}
            about.append((start, mido.Message("note_on", velocity=velocity, **shared)))
            about.append((end, mido.Message("note_off", **shared)))
        file.tracks.append(_track(mido, about))
    return file


def _latin(text: str) -> str:
    """Text as a MIDI file can hold it."""
    return text.encode("latin-1", "replace").decode("latin-1")


def write(
    path: str | Path,
    parts: Sequence[Part],
    times: np.ndarray,
    numbers: np.ndarray,
    force: bool = False,
    division: int = 1,
) -> None:
    """Write parts to a MIDI file: see `build`.

    Raises StageError where the file is there (but with force) or cannot be written.
    """
    save(path, build(parts, times, numbers, division), force)


def save(path: str | Path, file: MidiFile, force: bool = False) -> None:
    """Write a MIDI file, whole or not at all."""
    made = io.BytesIO()
    file.save(file=made)
    files.write_bytes(path, made.getvalue(), force)


def _strokes(part: Part, clock: TempoMap) -> list[tuple[int, int, int, int]]:
    """(first tick, last tick, pitch, velocity) of the notes. A note ends where its key is struck again; hits of drums,
    which may have no length, last a 32nd at least."""
    least = TICKS // 8 if part.channel == DRUM_CHANNEL else 1
    found: list[tuple[int, int, int, int]] = []
    open_keys: dict[int, int] = {}
    for note in sorted(Note(*note) for note in part.notes):
        start = clock.tick(note.start)
        if (before := open_keys.get(note.pitch)) is not None:
            first, last, pitch, velocity = found[before]
            start = max(start, first + 1)
            found[before] = first, min(last, start), pitch, velocity
        open_keys[note.pitch] = len(found)
        found.append((start, max(clock.tick(note.end), start + least), note.pitch, max(1, min(127, note.velocity))))
    return found


def _track(mido, events: list) -> list:
    """A track of (tick, message). At one tick what ends comes before what begins."""
    track, now = mido.MidiTrack(), 0
    for tick, message in sorted(events, key=lambda e: (e[0], e[1].type == "note_on", e[1].type != "note_off")):
        track.append(message.copy(time=tick - now))
        now = tick
    return track
