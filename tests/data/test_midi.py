"""Beats of MIDI files, from bytes that are put together here."""

import numpy as np
import pytest

from stage.data.midi import beats
from stage.errors import StageError

TICKS = 480


def delta(ticks: int) -> bytes:
    """A time before an event, as MIDI writes it: seven bits a byte, the highest bit on all but the last."""
    out = [ticks & 0x7F]
    while ticks := ticks >> 7:
        out.append(ticks & 0x7F | 0x80)
    return bytes(reversed(out))


def tempo(bpm: float, after: int = 0) -> bytes:
    return delta(after) + b"\xff\x51\x03" + round(6e7 / bpm).to_bytes(3, "big")


def metre(above: int, below: int, after: int = 0) -> bytes:
    return delta(after) + bytes([0xFF, 0x58, 4, above, below.bit_length() - 1, 24, 8])


def file(*events: bytes, ticks: int = TICKS) -> bytes:
    track = b"".join(events) + b"\x00\xff\x2f\x00"
    head = b"MThd" + (6).to_bytes(4, "big") + b"\x00\x00\x00\x01" + ticks.to_bytes(2, "big")
    return head + b"MTrk" + len(track).to_bytes(4, "big") + track


@pytest.fixture
def read(tmp_path):
    def read(*events: bytes, seconds: float = 4.0):
        path = tmp_path / "song.mid"
        path.write_bytes(file(*events))
        return beats(path, seconds)

    return read


def test_four_quarters_at_120_where_nothing_is_written(read):
    grid = read()
    assert grid.times == pytest.approx(np.arange(0, 4, 0.5)) and grid.numbers.tolist() == [1, 2, 3, 4] * 2


@pytest.mark.parametrize(
    "above, below, step, bar", [(3, 4, 0.5, 3), (5, 4, 0.5, 5), (7, 8, 0.25, 7), (6, 8, 0.75, 2), (12, 8, 0.75, 4)]
)
def test_metres_are_counted_as_in_grids(read, above, below, step, bar):
    grid = read(metre(above, below))
    assert np.diff(grid.times) == pytest.approx(step) and grid.beats_per_bar == bar


def test_tempo_and_metre_change_on_the_way(read):
    grid = read(metre(4, 4), tempo(120), metre(3, 4, after=4 * TICKS), tempo(60))
    assert grid.times == pytest.approx([0, 0.5, 1, 1.5, 2, 3]) and grid.numbers.tolist() == [1, 2, 3, 4, 1, 2]


def test_notes_are_skipped_with_and_without_a_running_status(read):
    notes = b"\x00\x90\x3c\x40" + delta(TICKS) + b"\x3c\x00" + b"\x00\xc0\x05" + b"\x00\xf0\x02\x01\xf7"
    grid = read(notes, tempo(60, after=TICKS))
    assert grid.times == pytest.approx([0, 0.5, 1, 2, 3])


@pytest.mark.parametrize(
    "data, message",
    [
        (b"RIFF" + bytes(20), "not a MIDI file"),
        (file(ticks=0xE728), "not counted in beats"),
        (file(b"\x00\xf4"), "not allowed"),
        (file(tempo(100))[:-6], "truncated"),
        (file(b"\x00\xff\x51\x7f"), "within an event|truncated"),
        (file(tempo(6e7)), "more than 20 a second"),
    ],
)
def test_what_is_not_a_midi_file_is_refused_in_one_line(tmp_path, data, message):
    path = tmp_path / "song.mid"
    path.write_bytes(data)
    with pytest.raises(StageError, match=message) as refused:
        beats(path, 10.0)
    assert "\n" not in str(refused.value)


def test_random_changes_are_beats_or_one_line(tmp_path):
    draws = np.random.default_rng(0)
    whole = file(metre(3, 4), tempo(100), b"\x00\x90\x3c\x40", b"\x60\x3c\x00", tempo(140, after=960))
    path = tmp_path / "song.mid"
    for _ in range(300):
        data = bytearray(whole)
        for place in draws.integers(0, len(data), 2):
            data[place] = draws.integers(256)
        path.write_bytes(bytes(data[: draws.integers(1, len(data) + 1)]))
        try:
            beats(path, 10.0)
        except StageError:
            pass
