"""MIDI files as notes in seconds, and what cannot be read."""

import mido
import pytest

from helpers.midi_files import TICKS, band, save, track
from stage import midi
from stage.errors import StageError
from stage.notes import Note


def test_parts_programs_and_names(tmp_path):
    score = midi.read(band(tmp_path / "a.mid"))
    assert [(p.name, p.channel, p.program, p.drums, len(p.notes)) for p in score.parts] == [
        ("drums", 9, 0, True, 16),
        ("bass", 0, 33, False, 8),
        ("piano", 1, 0, False, 6),
    ]
    assert score.parts[1].notes[1] == Note(0.5, pytest.approx(0.95), 34, 90)
    assert score.seconds == pytest.approx(3.95)


def test_the_tempo_map_holds_for_all_tracks(tmp_path):
    notes = [(float(i), 1.0, 60, 64) for i in range(4)]
    path = save(tmp_path / "a.mid", track(0, 0, notes), tempi=((0, 500_000), (2 * TICKS, 1_000_000)))
    (part,) = midi.read(path).parts
    assert [note.start for note in part.notes] == pytest.approx([0, 0.5, 1, 2])
    assert part.notes[-1].end == pytest.approx(3)


def test_type_0_and_a_change_of_program(tmp_path):
    one = track(0, 4, [(0.0, 1.0, 60, 64)])
    one += [mido.Message("program_change", channel=0, program=33), *track(0, None, [(0.0, 1.0, 40, 64)])]
    parts = midi.read(save(tmp_path / "a.mid", one, kind=0)).parts
    assert [(part.program, part.notes) for part in parts] == [
        (4, [Note(0, 0.5, 60, 64)]),
        (33, [Note(0.5, 1.0, 40, 64)]),
    ]


def test_the_pedal_holds_notes_and_volume_is_a_gain(tmp_path):
    events = mido.MidiTrack(
        [
            mido.Message("control_change", control=7, value=50),
            mido.Message("control_change", control=64, value=127),
            mido.Message("note_on", note=60, velocity=80),
            mido.Message("note_on", note=60, velocity=0, time=TICKS),
            mido.Message("control_change", control=64, value=0, time=3 * TICKS),
            mido.Message("note_on", note=62, velocity=80),  # never ended
            mido.MetaMessage("end_of_track", time=TICKS),
        ]
    )
    (part,) = midi.read(save(tmp_path / "a.mid", events)).parts
    assert part.notes == [Note(0, 2.0, 60, 80), Note(2.0, 2.5, 62, 80)]
    assert part.gain_db == pytest.approx(-12.04, abs=0.01)


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: b"", "is not a MIDI file"),
        (lambda data: b"RIFF" + data[4:], "is not a MIDI file"),
        (lambda data: changed(data, 9, b"\2"), "type 2"),
        (lambda data: changed(data, 9, b"\7"), "type 7"),
        (lambda data: changed(data, 12, b"\xe8\x28"), "SMPTE"),
        (lambda data: changed(data, 12, b"\0\0"), "no ticks"),
        (lambda data: data[:-20], "is cut"),
        (lambda data: data[: data.index(b"MTrk", 30)], "is cut"),
        (lambda data: data.replace(b"\xff\x51\x03\x07\xa1\x20", b"\xff\x51\x03\0\0\0"), "tempo of zero"),
        (lambda data: data[:14], "is cut"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, change, message):
    band(tmp_path / "a.mid")
    score = mido.MidiFile(tmp_path / "a.mid")
    score.tracks[0].insert(0, mido.MetaMessage("set_tempo", tempo=500_000))
    score.save(tmp_path / "a.mid")
    (tmp_path / "a.mid").write_bytes(change((tmp_path / "a.mid").read_bytes()))
    with pytest.raises(StageError, match=message) as caught:
        midi.read(tmp_path / "a.mid")
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_empty_or_endless(tmp_path):
    with pytest.raises(StageError, match="cannot read"):
        midi.read(tmp_path / "b.mid")
    with pytest.raises(StageError, match="cannot read"):
        midi.read(tmp_path)
    with pytest.raises(StageError, match="has no notes"):
        midi.read(save(tmp_path / "c.mid", track(0, 0, [])))
    with pytest.raises(StageError, match="lasts 5.6 hours"):
        midi.read(save(tmp_path / "d.mid", track(0, 0, [(0.0, 40_000.0, 60, 64)])))


def test_any_damage_is_one_line_or_notes(tmp_path):
    """Every byte of a file changed in turn."""
    data = band(tmp_path / "a.mid").read_bytes()
    for at in range(0, len(data), 3):
        (tmp_path / "b.mid").write_bytes(changed(data, at, bytes([data[at] ^ 0xFF])))
        try:
            assert midi.read(tmp_path / "b.mid").parts
        except StageError as error:
            assert "\n" not in str(error)
