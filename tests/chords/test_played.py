"""Chords of played notes and of MIDI files."""

import mido
import pytest

from helpers.midi_files import TICKS, save, track
from stage import midi
from stage.beats.grid import BeatGrid
from stage.chords import read
from stage.chords.played import BY_BARS
from stage.errors import StageError
from stage.midi import Part
from stage.midi_writing import write
from stage.notes import Note

CHORDS = [
    (0, (45, 60, 64, 69)),
    (4, (41, 60, 65, 69)),
    (8, (40, 60, 64, 67)),
    (12, (43, 59, 62, 65)),
    (14, (43, 60, 62)),
]
NAMES = ["Am", "F", "C/E", "G7", "Gsus4"]


def song(path, tempi=()):
    """Four bars of block chords with drums, and a melody of short notes."""
    keys = [(at, 4.0 if at < 12 else 2.0, key, 80) for at, chord in CHORDS for key in chord]
    drums = [(float(i), 0.5, 36, 90) for i in range(16)]
    tune = [(i + 0.5, 0.25, 72 + i * 5 % 7, 60) for i in range(16)]
    return save(path, track(0, 0, keys), track(9, 0, drums), track(1, 73, tune), tempi=tempi)


def names(chart) -> list[str]:
    return [span.chord.name for span in chart]


def test_times_of_the_file_without_a_grid(tmp_path):
    chart = read(song(tmp_path / "a.mid"))
    assert names(chart) == NAMES and chart.remarks == ()
    assert [span.start for span in chart] == [0, 2, 4, 6, 7] and chart.spans[-1].end == 8
    assert read(tmp_path / "a.mid", start=3.0).spans[0].end == 1.0


def test_bars_of_the_file_on_those_of_another_tempo(tmp_path):
    grid = BeatGrid.regular(98, 4, 20.0, 0.5)
    chart = read(song(tmp_path / "a.mid"), grid, 20.0)
    assert names(chart)[:6] == [*NAMES, "Am"] and BY_BARS in chart.remarks
    assert chart.spans[1].start == pytest.approx(grid.times[4], abs=1e-6)


def test_a_file_on_the_beats_of_the_recording_keeps_its_times(tmp_path):
    grid = BeatGrid.regular(120, 4, 8.0).shift_beats(1)
    chart = read(song(tmp_path / "a.mid"), grid, 8.0)
    assert [span.start for span in chart] == [0, 2, 4, 6, 7] and chart.remarks == ()
    part = read(tmp_path / "a.mid", BeatGrid.regular(120, 4, 4.0), 4.0, start=4.0)
    assert names(part) == NAMES[2:] and [span.start for span in part] == [0, 2, 3]


def test_what_the_program_writes_is_read_back_in_time(tmp_path):
    grid = BeatGrid([0.31, 0.9, 1.42, 1.97, 2.5, 3.1, 3.66, 4.2, 4.81], [3, 4, 1, 2, 3, 4, 1, 2, 3])
    notes = [
        Note(a, b, key, 80) for a, b, keys in ((1.42, 3.66, (57, 60, 64)), (3.66, 4.81, (53, 57, 60))) for key in keys
    ]
    write(tmp_path / "a.mid", [Part("keys", 0, 0, notes=notes)], grid.times, grid.numbers)
    chart = read(tmp_path / "a.mid", grid, 5.0)
    assert names(chart) == ["N.C.", "Am", "F"] and chart.spans[1].end == pytest.approx(3.66, abs=2e-3)


def test_a_long_rest_ends_the_chord(tmp_path):
    path = save(tmp_path / "a.mid", track(0, 0, [(at, 4.0, key, 80) for at in (0, 16) for key in (60, 64, 67)]))
    assert names(read(path)) == ["C", "N.C.", "C"]


def test_drums_alone_have_no_chords(tmp_path):
    path = save(tmp_path / "a.mid", track(9, 0, [(0.0, 1.0, 36, 80)]))
    with pytest.raises(StageError, match="no notes but drums"):
        read(path)


def test_beats_of_a_file_follow_its_metres(tmp_path):
    notes = track(0, 0, [(float(i), 1.0, 60, 64) for i in range(13)])
    metres = mido.MidiTrack(
        [
            mido.MetaMessage("time_signature", numerator=3, denominator=4),
            mido.MetaMessage("time_signature", numerator=6, denominator=8, time=6 * TICKS),
            mido.MetaMessage("time_signature", numerator=0, denominator=4, time=TICKS),
        ]
    )
    times, numbers = midi.read(save(tmp_path / "a.mid", metres, notes, tempi=((0, 1_000_000),))).beats()
    assert times.tolist() == [0, 1, 2, 3, 4, 5, 6, 7.5, 9, 10.5, 12]
    assert numbers.tolist() == [1, 2, 3, 1, 2, 3, 1, 2, 1, 2, 1]


def test_a_tempo_that_cannot_be_meant_is_refused(tmp_path):
    for beats, message in ((20_000.0, "has 20000 beats"), (400_000.0, "more than 100000 beats")):
        with pytest.raises(StageError, match=message):
            read(save(tmp_path / "a.mid", track(0, 0, [(0.0, beats, 60, 64)]), tempi=((0, 10),)))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: b"", "is not a MIDI file"),
        (lambda data: data[:-20], "is cut"),
        (lambda data: data[:9] + b"\2" + data[10:], "type 2"),
        (lambda data: data[:12] + b"\xe8\x28" + data[14:], "SMPTE"),
        (lambda data: data.replace(b"\xff\x51\x03\x07\xa1\x20", b"\xff\x51\x03\0\0\0"), "tempo of zero"),
        (lambda data: data + bytes(33 << 20), "more than 32 MB"),
    ],
)
def test_files_that_cannot_be_read_are_one_line(tmp_path, change, message):
    path = song(tmp_path / "a.mid", tempi=((0, 500_000),))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(StageError, match=message) as caught:
        read(path, BeatGrid.regular(120, 4, 8.0), 8.0)
    assert "\n" not in str(caught.value)
