"""An arrangement as a REAPER project (.rpp), a text file of nested blocks `<NAME ... >`. Sound stays in its own files
beside it; notes are in the project, in 30,720 ticks a quarter, so that they are within a sample from 46 BPM on at
44.1 kHz (REAPER takes any number of ticks)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from stage import __version__, files
from stage.midi import DRUM_CHANNEL
from stage.notes import Note
from stage.session.handoff.arrangement import Arrangement, Clock, Strip

TICKS = 30720
HOLD = 1
"""Shape of a point of an envelope: the value stays until the next."""
HOUSE = uuid.UUID("2b1e7f0e-7d0c-4c57-9f0d-5f2f6f2f3f10")
"""Of the identifiers, which are the same in every export of a session."""


def write(path: Path, arrangement: Arrangement, sound: Callable[[Strip], str], force: bool = False) -> None:
    """Write the project. sound: path of a track's WAV or FLAC file, from the project's folder."""
    files.write_text(path, "\n".join(lines(arrangement, sound)) + "\n", force)


def lines(arrangement: Arrangement, sound: Callable[[Strip], str]) -> Iterator[str]:
    """The project's lines."""
    clock = arrangement.clock
    _, upper, lower = clock.metres[0]
    yield f'<REAPER_PROJECT 0.1 "STAGE/{__version__}" 0'
    yield "  TIMELOCKMODE 0"
    yield "  TEMPOENVLOCKMODE 0"
    yield f"  SAMPLERATE {arrangement.rate} 1 0"
    yield f"  TEMPO {_number(clock.tempi[0][2])} {upper} {lower}"
    for number, (second, name) in enumerate(arrangement.markers, 1):
        yield f"  MARKER {number} {_number(second)} {_quoted(name)} 0"
    yield from _tempi(clock)
    for i, strip in enumerate(arrangement.strips):
        yield from _track(i, strip, strip.name, arrangement, _wave(sound(strip)))
        if strip.notes is not None:
            yield from _track(
                i, strip, f"{strip.name} notes", arrangement, _midi(strip, clock, arrangement), notes=True
            )
    yield ">"


def _tempi(clock: Clock) -> Iterator[str]:
    """The envelope of the tempo; a point with a metre names it as upper + 65536 x lower."""
    metres = {quarter: upper + (lower << 16) for quarter, upper, lower in clock.metres}
    seconds = dict(zip(clock.quarters.tolist(), clock.seconds.tolist()))
    points = {quarter: (second, bpm) for second, quarter, bpm in clock.tempi}
    yield "  <TEMPOENVEX"
    yield "    ACT 1 -1"
    yield "    VIS 1 0 1"
    yield "    DEFSHAPE 1 -1 -1"
    bpm = clock.tempi[0][2]
    for quarter in sorted({*points, *(q for q in metres if q in seconds)}):
        second, bpm = points.get(quarter, (seconds[quarter], bpm))
        metre = f" {metres[quarter]} 0 1" if quarter in metres else ""
        yield f"    PT {_number(second)} {_number(bpm)} {HOLD}{metre}"
    yield "  >"


def _track(
    i: int, strip: Strip, name: str, arrangement: Arrangement, source: Iterator[str], notes: bool = False
) -> Iterator[str]:
    gain, pan, mute = (1.0, 0.0, 0) if notes else (10 ** (strip.gain / 20), strip.pan, int(strip.mute))
    mark = _mark(f"{i} {name}")
    yield f"  <TRACK {mark}"
    yield f"    NAME {_quoted(name)}"
    yield f"    BEAT {1 if notes else 0}"
    yield f"    VOLPAN {_number(gain)} {_number(pan)} -1 -1 1"
    yield f"    MUTESOLO {mute} 0 0"
    yield f"    NCHAN {max(2, len(strip.audio) + len(strip.audio) % 2)}"
    yield f"    TRACKID {mark}"
    yield "    <ITEM"
    yield "      POSITION 0"
    yield f"      LENGTH {_number(arrangement.seconds)}"
    yield "      LOOP 0"
    yield "      FADEIN 1 0 0 1 0 0 0"
    yield "      FADEOUT 1 0 0 1 0 0 0"
    yield f"      IGUID {_mark(f'{i} {name} item')}"
    yield f"      NAME {_quoted(name)}"
    yield "      VOLPAN 1 0 1 -1"
    yield "      SOFFS 0"
    yield f"      GUID {_mark(f'{i} {name} take')}"
    for line in source:
        yield f"      {line}"
    yield "    >"
    yield "  >"


def _wave(path: str) -> Iterator[str]:
    yield "<SOURCE FLAC" if path.lower().endswith(".flac") else "<SOURCE WAVE"
    yield f"  FILE {_quoted(path)}"
    yield ">"


def _midi(strip: Strip, clock: Clock, arrangement: Arrangement) -> Iterator[str]:
    """Events with the ticks since the one before: status, key and velocity as hexadecimal numbers."""
    channel = DRUM_CHANNEL if strip.stem == "drums" else 0
    least = TICKS // 8 if strip.stem == "drums" else 1

    def tick(second: float) -> int:
        return round(clock.quarter(second) * TICKS)

    events = [(0, 0, f"c{channel:x} {strip.program:02x} 00")]
    for note, end in _ended(strip.notes or (), tick, least):
        events.append((tick(note.start), 2, f"9{channel:x} {note.pitch:02x} {max(1, min(127, note.velocity)):02x}"))
        events.append((end, 1, f"8{channel:x} {note.pitch:02x} 00"))
    yield "<SOURCE MIDI"
    yield f"  HASDATA 1 {TICKS} QN"
    now = 0
    for at, _, message in sorted(events):
        yield f"  E {at - now} {message}"
        now = at
    yield f"  E {max(tick(arrangement.seconds) - now, 0)} b{channel:x} 7b 00"
    yield ">"


def _ended(notes: tuple[Note, ...], tick: Callable[[float], int], least: int) -> Iterator[tuple[Note, int]]:
    """Notes with the ticks of their ends: where their key is struck again, or later than they begin."""
    following: dict[int, int] = {}
    made = []
    for note in sorted(notes, reverse=True):
        end = max(tick(note.end), tick(note.start) + least)
        if note.pitch in following:
            end = max(min(end, following[note.pitch]), tick(note.start) + 1)
        following[note.pitch] = tick(note.start)
        made.append((note, end))
    yield from reversed(made)


def _mark(name: str) -> str:
    return "{" + str(uuid.uuid5(HOUSE, name)).upper() + "}"


def _quoted(text: str) -> str:
    """Text in the quotation marks that do not stand in it."""
    mark = next((mark for mark in "\"'`" if mark not in text), "`")
    return mark + text.replace("`", "'").replace("\n", " ") + mark if mark == "`" else f"{mark}{text}{mark}"


def _number(value: float) -> str:
    """In full, without an exponent."""
    return f"{value:.15f}".rstrip("0").rstrip(".") or "0"
