"""Every data set's own layout opens as the same songs, read a crop at a time."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from evaluation.studio import write_corpus

from songs import miniatures
from stage.data import open_songs
from stage.errors import StageError


def check_crops(song, role: str) -> None:
    """Crops anywhere equal cuts of the whole, and are silent outside."""
    whole = song.read(role, 0, song.samples)
    assert whole.shape == (1, song.samples) and whole.dtype == np.float32 and np.abs(whole).max() > 0.01
    for start, samples in ((0, 100), (song.samples // 3, 5000), (song.samples - 70, 200), (-50, 100)):
        cut = song.read(role, start, samples)
        wanted = np.zeros_like(cut)
        first, last = max(start, 0), min(start + samples, song.samples)
        wanted[:, first - start : last - start] = whole[:, first:last]
        np.testing.assert_allclose(cut, wanted, atol=2e-5)


def test_moisesdb(tmp_path):
    problems = []
    songs = open_songs(miniatures.moises(tmp_path), problems=problems)
    assert [song.artist for song in songs] == ["Artist 0", "Artist 1"] and not problems
    song = songs[0]
    assert set(song.stems) == {"drums", "bass", "guitar", "keys", "other", "vocals"}
    assert [len(song.stems[role]) for role in ("drums", "guitar", "other")] == [2, 2, 1]  # the click track is no music
    assert song.stems["vocals"][0].bleed and not song.stems["bass"][0].bleed
    assert song.genres == ("rock",) and song.samples == 3 * 44100
    check_crops(song, "drums")
    kick, snare = (soundfile.read(track.path, dtype="float32")[0].mean(1) for track in song.stems["drums"])
    kick[: len(snare)] += snare
    np.testing.assert_allclose(song.read("drums", 0, song.samples)[0], kick, atol=1e-6)
    np.testing.assert_allclose(song.read(["bass", "keys"], 7, 99), song.read("bass", 7, 99) + song.read("keys", 7, 99), atol=1e-6)
    check_crops(open_songs(tmp_path, rate=32000)[0], "drums")


def test_moisesdb_in_pieces(tmp_path):
    root = miniatures.moises(tmp_path, songs=4) / "moisesdb" / "moisesdb_v0.1"
    folders = sorted(root.iterdir())
    (folders[0] / "bass" / "b0.wav").unlink()
    (folders[1] / "bass" / "b0.wav").write_bytes(b"RIFF")
    (folders[2] / "data.json").write_text(json.dumps({"title": "of another version"}))
    shutil.rmtree(folders[3] / "drums")
    problems = []
    songs = open_songs(root, problems=problems)
    assert [song.id for song in songs] == [folders[i].name for i in (0, 1, 3)]
    assert "bass" not in songs[0].stems and "bass" not in songs[1].stems and "drums" not in songs[2].stems
    found = {(p.song, p.stem, p.reason) for p in problems}
    assert (folders[0].name, "bass", "missing file") in found and (folders[1].name, "bass", "unreadable file") in found
    assert (folders[2].name, "", "another version of MoisesDB") in found and (folders[3].name, "drums", "missing file") in found


def test_musdb_hq(tmp_path):
    songs = open_songs(miniatures.musdb_hq(tmp_path))
    assert [(song.split, song.artist, song.title) for song in songs] == [("test", "Band test", "A Title"), ("train", "Band train", "A Title")]
    assert set(songs[0].stems) == {"drums", "bass", "other", "vocals"}
    check_crops(songs[0], "vocals")
    check_crops(open_songs(tmp_path, rate=32000)[0], "bass")


def test_musdb_of_streams_on_a_real_recording(tmp_path):
    stempeg = pytest.importorskip("stempeg", reason="the real recording comes with stempeg")
    import av

    place = tmp_path / "test" / "The Easton Ellises - Falcon 69.stem.mp4"
    place.parent.mkdir()
    shutil.copy(stempeg.example_stem_path(), place)
    song = open_songs(tmp_path)[0]
    assert song.artist == "The Easton Ellises" and song.split == "test" and list(song.stems) == ["drums", "bass", "other", "vocals"]
    with av.open(str(place)) as container:
        source = container.streams.audio[1]
        whole = np.concatenate([frame.to_ndarray() for frame in container.decode(source)], 1).mean(0)
    assert song.rate == 44100 and abs(song.samples - len(whole)) < 2048
    for start in (0, 1, 12345, 100_000, song.samples - 3000):
        np.testing.assert_allclose(song.read("drums", start, 2999)[0], whole[start : start + 2999], atol=1e-6)
    with pytest.raises(StageError, match="truncated|cannot be read"):
        data = place.read_bytes()
        place.write_bytes(data[: len(data) // 2])
        song.read("drums", song.samples - 5000, 5000)
    problems = []
    (place.parent / "Broken.stem.mp4").write_bytes(b"no video")
    place.write_bytes(data)
    assert len(open_songs(tmp_path, problems=problems)) == 1
    assert [(p.song, p.reason) for p in problems] == [("Broken", "unreadable file")]


def test_slakh(tmp_path):
    problems = []
    songs = open_songs(miniatures.slakh(tmp_path), problems=problems)
    assert [song.id for song in songs] == ["Track00001", "Track00003"]
    assert [(p.song, p.reason) for p in problems] == [("Track00002", "duplicate song")]
    song = songs[0]
    assert set(song.stems) == {"drums", "bass", "keys"} and song.split == "train"
    check_crops(song, "keys")
    times = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]  # 120 BPM for four beats, then 60
    np.testing.assert_allclose(song.beats[:, 0], times)
    assert song.beats[:, 1].tolist() == [1, 2, 3, 4, 1, 2]


def test_our_corpus(tmp_path):
    songs = open_songs(write_corpus(tmp_path, seconds=8.0))
    song = songs[0]
    assert len(songs) == 4 and song.split == "heldout" and set(song.stems) == {"drums", "bass", "keys"}
    assert song.beats.shape[1] == 2 and song.chords and song.tempo
    check_crops(song, "bass")


def test_any_folder(tmp_path):
    songs = open_songs(miniatures.multitracks(tmp_path))
    first = songs[1]
    assert [song.id for song in songs] == ["Other Band - Second", "The Band - First Song"]
    assert set(first.stems) == {"drums", "bass", "guitar", "keys", "lead"} and len(first.stems["guitar"]) == 2  # the mix is no stem
    assert (first.artist, first.title, first.genres, first.moods, first.key) == ("The Band", "The First", ("jazz", "funk"), ("calm",), "D minor")
    assert first.beats.tolist() == [[0.1, 1], [0.6, 2], [1.1, 1], [1.6, 2]]
    check_crops(first, "guitar")


def test_lengths_and_rates_may_differ_and_are_told(tmp_path):
    miniatures.write(tmp_path / "song" / "drums.wav", miniatures.tone(100, 4.0))
    miniatures.write(tmp_path / "song" / "bass.wav", miniatures.tone(50, 2.0, 48000), 48000)
    problems = []
    song = open_songs(tmp_path, problems=problems)[0]
    assert song.rate == 48000 and song.samples == 4 * 48000 and [p.reason for p in problems] == ["unequal lengths"]
    assert not song.read("bass", 3 * 48000, 48000).any()
    check_crops(song, "drums")


def test_what_is_no_data_set_is_refused_in_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    wrong = {
        "no folder": lambda: open_songs(tmp_path / "nowhere"), "is a file": lambda: open_songs(tmp_path / "notes.txt"),
        "Looked for": lambda: open_songs(tmp_path), 'no data set of kind "mosis"': lambda: open_songs(tmp_path, kind="mosis"),
        "<uuid>/data.json": lambda: open_songs(tmp_path, kind="moisesdb"),
    }  # fmt: skip
    for message, call in wrong.items():
        with pytest.raises(StageError) as caught:
            call()
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_broken_table_of_names_is_told(tmp_path):
    miniatures.write(tmp_path / "song" / "drums.wav", miniatures.tone(100, 1.0))
    (Path(tmp_path) / "stems.yaml").write_text("just a word")
    with pytest.raises(StageError, match="stems.yaml"):
        open_songs(tmp_path)
