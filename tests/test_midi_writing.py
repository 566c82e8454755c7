"""MIDI files that are written: read back they are the same notes at the same seconds, on the bars of the beats."""

import mido
import numpy as np
import pytest

from stage.beats.grid import BeatGrid
from stage.errors import StageError
from stage.midi import Part, read
from stage.midi_writing import KEPT, TICKS, TempoMap, build, write
from stage.notes import Note

BEATS = np.array([0.73, 1.21, 1.75, 2.22, 2.71, 3.2, 3.71, 4.19, 4.7])
NUMBERS = np.array([3, 4, 1, 2, 3, 4, 1, 2, 3])


def parts() -> list[Part]:
    bass = [Note(0.1, 0.6, 40, 90), Note(1.2104, 1.7, 43, 64), Note(1.75, 4.0, 36, 127), Note(5.9, 6.3, 41, 1)]
    drums = [Note(b, b, 36, 100) for b in BEATS.tolist()] + [Note(1.48, 1.48, 38, 20), Note(1.503, 1.503, 38, 110)]
    return [Part("bass", 0, 33, 90, bass), Part("drums", 9, 16, notes=sorted(drums))]


def test_notes_come_back_at_their_seconds(tmp_path):
    write(tmp_path / "a.mid", parts(), BEATS, NUMBERS)
    score = read(tmp_path / "a.mid")
    assert [(p.name, p.channel, p.program, p.volume) for p in score.parts] == [
        ("bass", 0, 33, 90),
        ("drums", 9, 16, 100),
    ]
    for before, after in zip(parts(), score.parts):
        assert [(n.pitch, n.velocity) for n in after.notes] == [(n.pitch, n.velocity) for n in before.notes]
        for a, b in zip(before.notes, after.notes):
            assert abs(a.start - b.start) < 0.0006 and (before.drums or abs(a.end - b.end) < 0.0006)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_beats_fall_on_whole_beats_and_downbeats_on_bars(tmp_path, first):
    beats, numbers = BEATS[first:], NUMBERS[first:]
    write(tmp_path / "a.mid", [Part("beats", 0, 0, notes=[Note(b, b + 0.1, 60, 90) for b in beats])], beats, numbers)
    file = mido.MidiFile(tmp_path / "a.mid")
    assert file.type == 1
    at = np.cumsum([m.time for m in file.tracks[1]])
    starts = [int(t) for t, m in zip(at, file.tracks[1]) if m.type == "note_on"]
    assert [t % TICKS for t in starts] == [0] * len(beats) and np.diff(starts).tolist() == [TICKS] * (len(beats) - 1)
    signatures, now = [], 0
    for message in file.tracks[0]:
        now += message.time
        if message.type == "time_signature":
            signatures.append((now, message.numerator))
    begins, bar = signatures[-1]
    assert bar == 4 and all((t - begins) % (4 * TICKS) == 0 for t, n in zip(starts, numbers) if n == 1)
    assert len(signatures) == 1 or signatures[0] == (0, begins // TICKS)


def test_rounding_of_tempi_does_not_add_up():
    times = 0.25 + np.arange(4000) * (60 / 137.123456)
    clock = TempoMap(times, np.arange(4000) % 4 + 1)
    assert np.abs(clock.beats[-4000:] - times).max() < KEPT + 1e-6


def test_beats_before_the_first_sample_are_left_out():
    clock = TempoMap(BEATS - 1.0, NUMBERS)
    assert clock.beats[0] == 0 and np.isin(np.round(BEATS[1:] - 1.0, 6), np.round(clock.beats, 6)).all()
    assert clock.numbers[clock.tick(0.75) // TICKS] == 1 and clock.tick(0.75) % TICKS == 0


def signatures(file: mido.MidiFile) -> list[tuple[int, int, int, int]]:
    """(tick, numerator, denominator, clocks of a click)."""
    at = np.cumsum([message.time for message in file.tracks[0]]).tolist()
    return [
        (t, m.numerator, m.denominator, m.clocks_per_click)
        for t, m in zip(at, file.tracks[0])
        if m.type == "time_signature"
    ]


@pytest.mark.parametrize("bar, upper", [(2, 6), (3, 9), (4, 12)])
def test_compound_metres_are_written_as_eighths(bar, upper):
    times = 0.4 + 0.61 * np.arange(4 * bar)
    numbers = np.arange(len(times)) % bar + 1
    notes = [Note(t + third * 0.61 / 3, t + 0.1 + third * 0.61 / 3, 60, 90) for t in times[:-1] for third in range(3)]
    file = build([Part("pads", 0, 48, notes=notes)], times, numbers, division=3)
    dotted, eighth = TICKS * 3 // 2, TICKS // 2
    assert signatures(file) == [(0, 3, 8, 36), (dotted, upper, 8, 36)]  # a beat before the first downbeat
    starts = [
        int(t) for t, m in zip(np.cumsum([m.time for m in file.tracks[1]]), file.tracks[1]) if m.type == "note_on"
    ]
    assert starts == [dotted + eighth * i for i in range(len(notes))]
    assert abs(file.length - notes[-1].end) < 0.001
    tempi = [60e6 / m.tempo for m in file.tracks[0] if m.type == "set_tempo"]
    assert tempi[1:] == pytest.approx([60 / 0.61 * 1.5] * (len(tempi) - 1), abs=1e-3)  # of quarters


def test_a_bar_that_is_longer_or_shorter_has_a_metre_of_its_own():
    numbers = np.array([4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 4, 5, 1, 2, 3, 4, 1, 2])
    times = 0.5 * np.arange(len(numbers))
    file = build([Part("bass", 0, 33, notes=[Note(0.0, 0.1, 40, 90)])], times, numbers)
    found = [(tick // TICKS, upper) for tick, upper, lower, _ in signatures(file) if lower == 4]
    assert found == [(0, 1), (1, 4), (5, 3), (8, 4), (12, 5), (17, 4)]  # the last bar, which is cut, is a usual one


def test_a_grid_without_downbeats_has_one_metre():
    file = build([Part("bass", 0, 33, notes=[Note(0.0, 0.1, 40, 90)])], np.arange(3) * 0.5, np.array([2, 3, 4]))
    assert [s[1:3] for s in signatures(file)] == [(4, 4)]


@pytest.mark.parametrize("times", [[1.0], [1.0, 1.0], [-3.0, -2.0], [-2.0, 1.0]])
def test_too_few_beats_are_refused(times):
    with pytest.raises(ValueError, match="a tempo map needs two beats"):
        TempoMap(np.array(times), np.arange(len(times)) + 1)


def test_a_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "a.mid").write_text("mine", encoding="utf-8")
    with pytest.raises(StageError):
        write(tmp_path / "a.mid", parts(), BEATS, NUMBERS)
    assert (tmp_path / "a.mid").read_text(encoding="utf-8") == "mine"
    write(tmp_path / "a.mid", parts(), BEATS, NUMBERS, force=True)
    assert len(read(tmp_path / "a.mid").parts) == 2


def test_beats_of_one_tempo_have_one_event_of_it():
    """Ten minutes at a tempo that is no whole number of microseconds, from a beat that is not at 0."""
    grid = BeatGrid.regular(135.37, 4, 600, 0.2)
    map = TempoMap(grid.times, grid.numbers)
    paces = [values["tempo"] for _, kind, values in map.events() if kind == "set_tempo"]
    assert len(paces) < 10  # of 1354; the first is the beat's that fills what lies before
    assert np.abs(map.beats - map.seconds).max() < KEPT + 1e-6
