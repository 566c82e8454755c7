"""Small MIDI files."""

from __future__ import annotations

from pathlib import Path

import mido

TICKS = 480


def track(channel: int, program: int | None, notes: list[tuple], name: str = "") -> mido.MidiTrack:
    """A track of notes: (beat, beats long, key, velocity)."""
    events = [(start, 1, key, velocity) for start, _, key, velocity in notes]
    events += [(start + length, 0, key, 0) for start, length, key, _ in notes]
    made = mido.MidiTrack([mido.MetaMessage("track_name", name=name)] if name else [])
    if program is not None:
        made.append(mido.Message("program_change", channel=channel, program=program))
    now = 0
    for beat, on, key, velocity in sorted(events):
        tick = round(beat * TICKS)
        made.append(
            mido.Message("note_on" if on else "note_off", channel=channel, note=key, velocity=velocity, time=tick - now)
        )
        now = tick
    return made


def save(path: Path, *tracks: mido.MidiTrack, kind: int = 1, tempi: tuple[tuple[int, int], ...] = ()) -> Path:
    """Write a file; tempi: (ticks since the one before, microseconds a quarter)."""
    file = mido.MidiFile(type=kind, ticks_per_beat=TICKS)
    metas = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo, time=time) for time, tempo in tempi])
    file.tracks.extend(([metas] if kind else []) + list(tracks))
    file.save(path)
    return path


def band(path: Path) -> Path:
    """Two bars of drums, bass and piano at 120 BPM."""
    drums = [(i / 2, 0.1, 36 if i % 4 == 0 else 38 if i % 4 == 2 else 42, 100) for i in range(16)]
    bass = [(float(i), 0.9, 33 + i % 3, 90) for i in range(8)]
    keys = [(4.0 * i, 3.5, key, 70) for i in range(2) for key in (60, 64, 67)]
    return save(path, track(9, 0, drums, "drums"), track(0, 33, bass, "bass"), track(1, 0, keys, "piano"))
