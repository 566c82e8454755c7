import numpy as np
import pytest

from helpers.drummers import groove_zip
from helpers.players import write_noted_corpus
from stage.corpus.grooves import Grooves
from stage.corpus.read import songs
from stage.errors import StageError
from stage.evaluation.acceptance.player.clips import (
    PlayerMaterial,
    Settings,
    click_clips,
    cut,
    drummer_clips,
    genre_of,
    song_clips,
)
from stage.evaluation.figures import harmony
from stage.notes import Note


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return tuple(songs(write_noted_corpus(tmp_path_factory.mktemp("corpus")), "heldout"))


def test_notes_of_a_stretch_count_from_its_beginning():
    notes = [Note(0.9, 1.2, 36, 90), Note(1.0, 5.0, 38, 90), Note(3.0, 3.1, 36, 90)]
    assert cut(notes, 1.0, 2.0) == (Note(0.0, 2.0, 38, 90),)


def test_clips_have_the_part_the_chords_and_the_borders_of_their_stretch(held_out):
    clips = song_clips(held_out, "bass", 6, 8.0, 42)
    assert [clip.key for clip in clips] == [f"{i:03d}" for i in range(6)]
    assert len({clip.name for clip in clips}) == 6
    for clip in clips:
        assert harmony.share_in_chord(clip.notes, clip.truth.chords) == 1
        assert {note.pitch % 12 for note in clip.notes} <= {chord.root for chord in clip.chords}
        assert all(0 < border < 8 for border in clip.borders)
        starts = {round(note.start, 3) for note in clip.notes}
        assert starts <= {round(float(beat), 3) for beat in clip.truth.grid.times}
    assert [c.name for c in song_clips(held_out, "bass", 6, 8.0, 42)] == [c.name for c in clips]
    assert [c.name for c in song_clips(held_out, "bass", 6, 8.0, 43)] != [c.name for c in clips]


def test_clips_for_clicks_begin_with_a_bar(held_out):
    for clip in click_clips(song_clips(held_out, "drums", 4, 8.0, 42)):
        assert clip.truth.grid.times[0] == pytest.approx(0, abs=1e-9)
        assert clip.truth.grid.numbers[0] == 1
        assert clip.mix is None and clip.notes[0].pitch == 36
        assert clip.whole_bars == np.ceil(8.0 * clip.truth.bpm / 240)
        with pytest.raises(StageError, match="no recording"):
            clip.context(32000)


def test_songs_without_notes_are_refused(held_out, tmp_path):
    from helpers.clips import write_corpus

    bare = tuple(songs(write_corpus(tmp_path), "heldout"))
    with pytest.raises(StageError, match="build them again"):
        _ = PlayerMaterial(bare, Settings(mixes=2), ("drums",)).mixes
    with pytest.raises(StageError, match='"pads"'):
        song_clips(held_out, "pads", 2, 8.0, 42)


def test_drummers_are_those_of_the_test_split(tmp_path):
    beat = [(i / 2, 42 if i % 2 else 36, 80 + i % 7) for i in range(64)]
    rows = [
        {"id": "a/1", "style": "jazz/swing", "bpm": 120, "midi_filename": "a.mid", "split": "test", "hits": beat},
        {"id": "b/1", "style": "rock", "bpm": 120, "midi_filename": "b.mid", "split": "train", "hits": beat},
    ]
    clips = drummer_clips(Grooves(groove_zip(tmp_path / "grooves.zip", rows)), 3, 8.0, 42)
    assert len(clips) == 3
    for clip in clips:
        assert clip.name.startswith("a/1 from") and clip.genre == "jazz swing" and clip.meter == "4/4"
        assert clip.notes[0].start == pytest.approx(0, abs=1e-9) and clip.notes[0].pitch == 36
        assert clip.truth.grid.bpm == pytest.approx(120)
    with pytest.raises(StageError, match="test split"):
        drummer_clips(Grooves(groove_zip(tmp_path / "other.zip", rows[1:])), 3, 8.0, 42)


def test_every_kind_of_a_style_has_a_genre():
    assert [genre_of(s) for s in ("funk", "latin/brazilian-bossa", "hiphop", "nothing")] == [
        "funk",
        "bossa nova",
        "hip hop",
        "rock",
    ]
