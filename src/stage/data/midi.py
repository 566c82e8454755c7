"""The beats of a MIDI file, from its tempo map and metres alone; notes are skipped, so thousands of files take
minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stage.beats.grid import BeatGrid, counted
from stage.errors import StageError

MOST = 20
"""Beats a second that are taken for music rather than for a broken tempo."""

Tempi = list[tuple[int, int]]
Metres = list[tuple[int, int, int]]


def beats(path: Path, seconds: float) -> BeatGrid:
    """The beats by a MIDI file's tempo map and metres, those before `seconds`.

    6/8 has two dotted-quarter beats a bar (`stage.beats.grid`). A change of metre begins a bar. Where a file has
    neither, 4/4 and 120 BPM, by the standard. Raises StageError for a file that cannot be read.
    """
    try:
        ticks, tempi, metres = tempo_map(Path(path).read_bytes())
    except (OSError, ValueError, IndexError) as error:
        why = getattr(error, "strerror", None) or (
            "it ends within an event" if isinstance(error, IndexError) else error
        )
        raise StageError(f"the beats of {path} cannot be read: {why}") from None
    at = np.array([tick for tick, _ in tempi], np.float64)
    pace = np.array([tempo for _, tempo in tempi], np.float64) / (1e6 * ticks)
    begins = np.concatenate([[0.0], np.cumsum(np.diff(at) * pace[:-1])])
    last = at[-1] + max(0.0, seconds - begins[-1]) / pace[-1]
    placed, numbers = [], []
    for (start, above, below), end in zip(metres, [tick for tick, *_ in metres[1:]] + [np.inf]):
        bar, parts = counted(above, below)
        step = ticks * 4 / below * parts
        count = max(0, int(np.ceil((min(end, last) - start) / step - 1e-6)))
        if count > MOST * max(seconds, 1):
            raise StageError(f"the beats of {path} cannot be used: more than {MOST} a second")
        placed.append(start + step * np.arange(count))
        numbers.append(np.arange(count) % bar + 1)
    tick = np.concatenate(placed)
    part = np.searchsorted(at, tick, "right") - 1
    times = begins[part] + (tick - at[part]) * pace[part]
    inside = times < seconds
    return BeatGrid(times[inside], np.concatenate(numbers)[inside])


def tempo_map(data: bytes) -> tuple[int, Tempi, Metres]:
    """(ticks a quarter, tempi as (tick, microseconds a quarter), metres as (tick, above, below)) of a MIDI file.

    Both begin at tick 0 and rise; of two at one tick the later counts. Raises ValueError or IndexError for what is not
    a standard MIDI file.
    """
    if data[:4] != b"MThd" or len(data) < 14:
        raise ValueError("it is not a MIDI file")
    ticks = int.from_bytes(data[12:14], "big")
    if not 0 < ticks < 0x8000:
        raise ValueError("its times are not counted in beats")
    tempi, metres = {0: 500000}, {0: (4, 4)}
    place = 8 + int.from_bytes(data[4:8], "big")
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "big")
        if data[place : place + 4] == b"MTrk":
            if place + 8 + size > len(data):
                raise ValueError("it is truncated")
            _walk(data, place + 8, place + 8 + size, tempi, metres)
        place += 8 + size
    return ticks, sorted(tempi.items()), [(tick, *metre) for tick, metre in sorted(metres.items())]


def _walk(data: bytes, place: int, end: int, tempi: dict[int, int], metres: dict[int, tuple[int, int]]) -> None:
    """Collect the tempi and metres of one track. The loop is flat, since it runs tens of thousands of times a file."""
    now = running = 0
    while place < end:
        byte = data[place]
        place += 1
        delta = byte & 0x7F
        while byte & 0x80:
            byte = data[place]
            place += 1
            delta = delta << 7 | byte & 0x7F
        now += delta
        status = data[place]
        if status & 0x80:
            place += 1
            if status < 0xF0:
                running = status
        else:
            status = running
        if 0x80 <= status < 0xF0:
            place += 1 if 0xC0 <= status < 0xE0 else 2
            continue
        if status not in (0xF0, 0xF7, 0xFF):
            raise ValueError("it holds an event that is not allowed in MIDI files")
        kind = data[place] if status == 0xFF else None
        place += status == 0xFF
        byte = data[place]
        place += 1
        size = byte & 0x7F
        while byte & 0x80:
            byte = data[place]
            place += 1
            size = size << 7 | byte & 0x7F
        body = data[place : place + size]
        place += size
        if place > end:
            raise IndexError
        if kind == 0x51 and len(body) >= 3 and (tempo := int.from_bytes(body[:3], "big")):
            tempi[now] = tempo
        elif kind == 0x58 and len(body) >= 2 and body[0] and body[1] < 8:
            metres[now] = (body[0], 2 ** body[1])
        elif kind == 0x2F:
            return
