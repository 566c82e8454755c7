"""What `--grid`, `--meter` and `--tempo-range` come to."""

import mido
import numpy as np
import pytest

from stage import midi_writing
from stage.beats.find import Tracking
from stage.beats.grid import BeatGrid
from stage.cli.results import read_grid
from stage.errors import StageError
from stage.midi import Part
from stage.notes import Note


@pytest.mark.parametrize("word", [None, "on", "off", "half", "double"])
def test_words_are_left_to_the_request(word):
    assert read_grid(word, 0.0) == word


def test_a_metre_and_a_range_are_tracked():
    assert read_grid(None, 0.0, "5/4") == Tracking(meter="5/4")
    assert read_grid("on", 0.0, None, "160-240") == Tracking(tempo_range=(160, 240))
    assert read_grid("half", 0.0, "6/8", "60-120") == Tracking("6/8", (60, 120), "half")


def test_a_file_counts_from_the_beginning_of_the_song(tmp_path):
    BeatGrid.regular(60, 4, 8).save(tmp_path / "beats.txt")
    assert read_grid(str(tmp_path / "beats.txt"), 2.0).times == pytest.approx(np.arange(-2.0, 6.0))


@pytest.mark.parametrize("word", ["off", "beats.txt"])
def test_only_tracked_beats_have_a_metre_to_choose(word):
    with pytest.raises(StageError, match="tracked"):
        read_grid(word, 0.0, "5/4")


def test_a_midi_file_gives_its_tempo_map(tmp_path):
    times = np.array([0.0, 0.5, 1.0, 1.5, 2.1, 2.7])
    part = Part("x", 0, 0, notes=[Note(0.0, 3.0, 60, 90)])
    midi_writing.save(tmp_path / "map.mid", midi_writing.build([part], times, np.arange(6) % 3 + 1))
    found = read_grid(str(tmp_path / "map.mid"), 1.0)
    assert found.times[:6] == pytest.approx(times - 1.0, abs=1e-5) and found.beats_per_bar == 3


def test_a_tempo_map_without_notes_goes_on_to_the_end_of_the_song(tmp_path):
    file = mido.MidiFile(ticks_per_beat=480)
    tempi = [(0, 500_000), (4 * 480, 600_000)]
    track = mido.MidiTrack([mido.MetaMessage("time_signature", numerator=4, denominator=4)])
    for (before, _), (tick, tempo) in zip([(0, 0), *tempi], tempi):
        track.append(mido.MetaMessage("set_tempo", tempo=tempo, time=tick - before))
        track.append(mido.MetaMessage("time_signature", numerator=3 if tick else 4, denominator=4))
    file.tracks.append(track)
    file.save(tmp_path / "map.mid")
    found = read_grid(str(tmp_path / "map.mid"), 0.0, until=7.0)
    assert found.times == pytest.approx([0.0, 0.5, 1.0, 1.5, *np.arange(2.0, 7.0, 0.6)], abs=1e-6)
    assert found.numbers.tolist() == [1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert read_grid(str(tmp_path / "map.mid"), 0.0).times == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=1e-6)
    part = Part("x", 0, 0, notes=[Note(0.0, 9.5, 60, 90)])
    midi_writing.save(tmp_path / "played.mid", midi_writing.build([part], np.arange(20) / 2, np.arange(20) % 4 + 1))
    assert len(read_grid(str(tmp_path / "played.mid"), 0.0, until=3.0)) == 19  # a file's own notes are all in it
    file.tracks[0] = mido.MidiTrack()
    file.save(tmp_path / "empty.mid")
    with pytest.raises(StageError, match="fewer than two beats"):
        read_grid(str(tmp_path / "empty.mid"), 0.0)
