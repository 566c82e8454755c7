"""Notes of MIDI files (types 0 and 1): parts by track, channel and program, in seconds by the tempo map."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stage.beats.grid import counted
from stage.errors import StageError
from stage.notes import Note

MOST_BYTES = 32 << 20
MOST_SECONDS = 4 * 3600.0
MOST_BEATS = 100_000
DRUM_CHANNEL = 9
"""Channel 10 in a musician's count."""
PEDAL, VOLUME = 64, 7
USUAL_VOLUME = 100
"""Of the controller VOLUME where a file does not set it."""


@dataclass
class Part:
    """Notes of a track's channel under one program: General MIDI program 0..127, volume 0..127, whether it is drums."""

    name: str
    channel: int
    program: int
    volume: int = USUAL_VOLUME
    notes: list[Note] = field(default_factory=list)

    @property
    def drums(self) -> bool:
        return self.channel == DRUM_CHANNEL

    @property
    def gain_db(self) -> float:
        """Of the volume, against the usual one."""
        return 40 * float(np.log10(max(self.volume, 1) / USUAL_VOLUME))


@dataclass(frozen=True)
class Score:
    """A MIDI file: its parts that have notes, in the file's order, and the end of its last note in seconds, without
    any the file's. markers: seconds and words, in order."""

    parts: tuple[Part, ...]
    seconds: float
    markers: tuple[tuple[float, str], ...] = ()
    _clock: _Clock | None = field(default=None, repr=False, compare=False)

    def beats(self, until: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Seconds and numbers in their bars (1 = downbeat) of the beats up to the last note's end, or, where that comes
        later, up to the second `until`: [n] each.

        By the tempo map and the time signatures, 4/4 where there is none; 6/8 has two beats (`stage.beats.grid`).
        Raises StageError where there are too many.
        """
        if self._clock is None:
            return np.zeros(0), np.zeros(0, np.int64)
        return self._clock.beats(max(self.seconds, until or 0.0))

    @property
    def division(self) -> int:
        """Parts of a beat in the first metre: 3 in 6/8, 9/8 and 12/8, else 1."""
        return 1 if self._clock is None else counted(*self._clock.metres[0])[1]


def read(path: str | Path, notes: bool = True) -> Score:
    """Read a MIDI file. Raises StageError for what is none, is cut, cannot be timed, or, with `notes`, has none."""
    path = Path(path)
    try:
        data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    except OSError as error:
        raise StageError(f"cannot read {path}: {error.strerror or error}") from None
    if not data and path.stat().st_size:
        raise StageError(f"{path} has more than {MOST_BYTES >> 20} MB: it is no usual MIDI file")
    return parse(path, data, notes)


def parse(path: Path, data: bytes, notes: bool = True) -> Score:
    """The same of a file's bytes. path: its name in errors."""
    _check_header(path, data)
    tracks, ticks = _tracks(path, data)
    seconds = _Clock(path, tracks, ticks)
    parts = [part for number, track in enumerate(tracks) for part in _parts(track, number, seconds)]
    if notes and not parts:
        raise StageError(f"{path} has no notes")
    last = max((track[-1][0] for track in tracks if track), default=0)
    end = max((note.end for part in parts for note in part.notes), default=seconds(last))
    if end > MOST_SECONDS:
        raise StageError(f"{path} lasts {end / 3600:.1f} hours: at most {MOST_SECONDS / 3600:g} can be played")
    markers = sorted((seconds(tick), m.text) for track in tracks for tick, m in track if m.type == "marker")
    return Score(tuple(parts), end, tuple(markers), seconds)


def _check_header(path: Path, data: bytes) -> None:
    if data[:4] != b"MThd" or len(data) < 14:
        raise StageError(f"{path} is not a MIDI file")
    kind, division = (int.from_bytes(data[at : at + 2], "big") for at in (8, 12))
    if kind == 2:
        raise StageError(f"{path} is a MIDI file of type 2 (independent patterns): save it as type 0 or 1")
    if kind > 2:
        raise StageError(f"{path} is a MIDI file of type {kind}: types 0 and 1 can be read")
    if division & 0x8000:
        raise StageError(f"{path} counts time in film frames (SMPTE): save it with ticks per quarter note")
    if not division:
        raise StageError(f"{path} has no ticks per quarter note: it is damaged")


def _tracks(path: Path, data: bytes) -> tuple[list[list[tuple[int, object]]], int]:
    """Of each track (tick, message), and the ticks of a quarter."""
    import mido

    try:
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except EOFError:
        raise StageError(f"{path} is cut: it ends within a track") from None
    except Exception as error:  # mido lets out many kinds for damaged files
        why = " ".join(str(error).split())[:100]
        raise StageError(f"{path} is a damaged MIDI file: {why or type(error).__name__}") from None
    made = []
    for track in file.tracks:
        now, events = 0, []
        for message in track:
            now += message.time
            events.append((now, message))
        made.append(events)
    return made, file.ticks_per_beat


class _Clock:
    """Seconds of ticks, by the tempo map of all tracks."""

    def __init__(self, path: Path, tracks: list[list[tuple[int, object]]], ticks: int):
        tempi = {0: 500_000}
        for tick, message in sorted(
            ((tick, m) for track in tracks for tick, m in track if m.type == "set_tempo"), key=lambda e: e[0]
        ):
            if not message.tempo:
                raise StageError(f"{path} sets a tempo of zero microseconds a quarter note")
            tempi[tick] = message.tempo
        self.at = np.array(sorted(tempi), np.float64)
        self.pace = np.array([tempi[int(tick)] for tick in self.at]) / (1e6 * ticks)
        self.begins = np.concatenate([[0.0], np.cumsum(np.diff(self.at) * self.pace[:-1])])
        self.path, self.ticks = path, ticks
        self.metres = {0: (4, 4)}
        for track in tracks:
            for tick, m in track:
                if m.type == "time_signature" and m.numerator and m.denominator <= 64:
                    self.metres[tick] = (m.numerator, m.denominator)

    def __call__(self, tick: int) -> float:
        part = int(np.searchsorted(self.at, tick, "right")) - 1
        return float(self.begins[part] + (tick - self.at[part]) * self.pace[part])

    def beats(self, end: float) -> tuple[np.ndarray, np.ndarray]:
        """See `Score.beats`. end: seconds."""
        part = max(0, int(np.searchsorted(self.begins, end, "left")) - 1)
        last = self.at[part] + (end - self.begins[part]) / self.pace[part]
        starts = [tick for tick in sorted(self.metres) if tick < last or not tick]
        times, numbers = [], []
        for start, stop in zip(starts, [*starts[1:], last]):
            upper, lower = self.metres[start]
            bar, _ = counted(upper, lower)
            length = 4 * self.ticks * upper / lower / bar
            count = int(np.ceil((stop - start) / length - 1e-6))
            if count + len(times) > MOST_BEATS:
                raise StageError(f"{self.path} has more than {MOST_BEATS} beats: its tempo cannot be meant")
            times += [self(start + i * length) for i in range(count)]
            numbers += [i % bar + 1 for i in range(count)]
        return np.array(times), np.array(numbers, np.int64)


def _parts(track: list[tuple[int, object]], number: int, seconds: _Clock) -> list[Part]:
    """Parts of a track."""
    name = next((m.name for _, m in track if m.type == "track_name" and m.name.strip()), f"track {number + 1}")
    volumes: dict[int, int] = {}
    for _, m in track:
        if m.type == "control_change" and m.control == VOLUME:
            volumes.setdefault(m.channel, m.value)
    parts: dict[tuple[int, int], Part] = {}
    for channel, program, pitch, velocity, start, end in _sounding(track):
        key = (channel, program)
        part = parts.setdefault(key, Part(name.strip(), channel, program, volumes.get(channel, USUAL_VOLUME)))
        part.notes.append(Note(seconds(start), seconds(end), pitch, velocity))
    for part in parts.values():
        part.notes.sort()
    return list(parts.values())


def _sounding(track: list[tuple[int, object]]) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(channel, program, pitch, velocity, first tick, last tick) of each note; a held pedal makes notes longer."""
    programs: dict[int, int] = {}
    open_notes: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    held: dict[int, list[tuple[int, int, int, int]]] = {}  # by channel with its pedal down: ended notes
    now = 0
    for now, m in track:
        if m.type == "program_change":
            programs[m.channel] = m.program
        elif m.type == "note_on" and m.velocity:
            open_notes.setdefault((m.channel, m.note), []).append((now, m.velocity, programs.get(m.channel, 0)))
        elif m.type in ("note_on", "note_off"):
            if started := open_notes.get((m.channel, m.note)):
                start, velocity, program = started.pop(0)
                if m.channel in held:
                    held[m.channel].append((program, m.note, velocity, start))
                else:
                    yield m.channel, program, m.note, velocity, start, now
        elif m.type == "control_change" and m.control == PEDAL and m.channel != DRUM_CHANNEL:
            if m.value >= 64:
                held.setdefault(m.channel, [])
            else:
                for program, note, velocity, start in held.pop(m.channel, ()):
                    yield m.channel, program, note, velocity, start, now
    for (channel, note), started in open_notes.items():
        for start, velocity, program in started:
            yield channel, program, note, velocity, start, now
    for channel, ended in held.items():
        for program, note, velocity, start in ended:
            yield channel, program, note, velocity, start, now
