"""Which data set a folder holds, what is left out and why, and the command that shows it."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import data_sets as sets
from helpers.data_sets import RATE, write
from stage.cli import app as cli
from stage.data import open_songs
from stage.data.open import location, recognise
from stage.errors import StageError


def test_every_kind_is_known_from_its_layout(tmp_path):
    sets.moises(tmp_path / "moisesdb")
    sets.mp4(tmp_path / "musdb18" / "train" / "A - B.stem.mp4", seconds=0.2)
    sets.musdb_hq(tmp_path / "musdb18-hq", "test", "A - B")
    sets.slakh(tmp_path / "slakh", "train", "Track00001")
    sets.corpus(tmp_path / "corpus", "train", "a")
    write(tmp_path / "folder" / "song" / "drums.wav", 1)
    for kind in ("moisesdb", "musdb18", "musdb18-hq", "slakh", "corpus", "folder"):
        assert recognise(tmp_path / kind)[0] == kind
        assert (
            [song.id for song in open_songs(tmp_path / kind)]
            == [song.id for song in open_songs(tmp_path / kind, kind)]
            != []
        )


def test_a_mixture_beside_other_stems_is_a_folder_of_stems(tmp_path):
    write(sets.musdb_hq(tmp_path, "train", "A - B") / "guitar.wav", 9)
    assert recognise(tmp_path)[0] == "folder"
    (song,) = open_songs(tmp_path)
    assert set(song.stems) == {"drums", "bass", "guitar", "other", "vocals"} and song.split == "train"


def test_a_folder_of_no_known_layout_is_refused_with_what_it_holds(tmp_path):
    for name in "abcdefgh":
        (tmp_path / f"{name}.txt").touch()
    with pytest.raises(
        StageError,
        match=r"Looked for: .*moisesdb_v0.1.*stem.mp4.*metadata.yaml.*drums.wav.*Found: a.txt, .*f.txt and 2 more$",
    ):
        open_songs(tmp_path)
    with pytest.raises(
        StageError, match=r"Looked for: Slakh2100 \(train\|validation\|test/Track\*/metadata.yaml\)\. Found"
    ):
        open_songs(tmp_path, "slakh")
    with pytest.raises(StageError, match='"musdb" is not a kind of data set: choose auto, prepared, moisesdb'):
        open_songs(tmp_path, "musdb")
    with pytest.raises(StageError, match="not there"):
        open_songs(tmp_path / "nowhere")
    with pytest.raises(StageError, match="is a file"):
        open_songs(tmp_path / "a.txt")


def test_files_that_cannot_be_used_take_their_stem_with_them(tmp_path):
    write(tmp_path / "a" / "drums.wav", 1)
    whole = write(tmp_path / "a" / "bass.wav", 2).read_bytes()
    (tmp_path / "a" / "bass.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a" / "keys.wav").touch()
    (tmp_path / "a" / "guitar.wav").write_text("404: not found")
    soundfile.write(tmp_path / "a" / "vocals.wav", np.zeros((0, 2)), RATE)
    write(tmp_path / "b" / "drums.wav", 1)
    (tmp_path / "b" / "drums.wav").write_bytes(b"RIFF")
    problems = []
    (song,) = open_songs(tmp_path, problems=problems)
    assert song.id == "a" and set(song.stems) == {"drums"}
    found = {(problem.song, problem.stem): problem.reason for problem in problems}
    assert found == {
        ("a", "bass"): "file truncated",
        ("a", "keys"): "file empty",
        ("a", "guitar"): "file unreadable",
        ("a", "vocals"): "file empty",
        ("b", "drums"): "file unreadable",
        ("b", ""): "no stems",
    }
    assert all(problem.detail for problem in problems)


def test_a_missing_file_of_a_set_is_reported(tmp_path):
    folder = sets.musdb_hq(tmp_path, "train", "A - B")
    (folder / "vocals.wav").unlink()
    problems = []
    (song,) = open_songs(tmp_path, problems=problems)
    assert set(song.stems) == {"drums", "bass", "other"}
    assert [(problem.song, problem.stem, problem.reason) for problem in problems] == [
        ("A - B", "vocals", "file missing")
    ]


def test_a_length_that_the_others_do_not_share_takes_its_stem_out(tmp_path):
    folder = sets.musdb_hq(tmp_path, "train", "A - B", samples=3 * RATE)
    write(folder / "drums.wav", 1, 3 * RATE + RATE // 2)  # within the tolerance
    write(folder / "bass.wav", 1, 5 * RATE)
    problems = []
    (song,) = open_songs(tmp_path, problems=problems)
    assert set(song.stems) == {"drums", "other", "vocals"} and song.samples == 3 * RATE + RATE // 2
    assert [(problem.stem, problem.reason) for problem in problems] == [
        ("bass", "length differs")
    ] and "5.00 s" in problems[0].detail


def test_damage_behind_the_header_names_the_file_when_it_is_read(tmp_path):
    path = write(tmp_path / "song" / "drums.flac", 1, 4 * RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (song,) = open_songs(tmp_path)
    song.read("drums", 0, 1000)
    with pytest.raises(StageError, match="drums.flac"):
        song.read("drums", 3 * RATE, 1000)


def test_a_song_in_two_splits_is_there_once(tmp_path):
    sets.musdb_hq(tmp_path, "train", "A - B")
    sets.musdb_hq(tmp_path, "test", "A - B")
    problems = []
    (song,) = open_songs(tmp_path, problems=problems)
    assert song.split == "train" and [(problem.song, problem.reason) for problem in problems] == [("A - B", "id twice")]
    assert "in train and in test" in problems[0].detail


def test_a_set_of_which_nothing_can_be_used_is_refused_with_reasons(tmp_path):
    (tmp_path / "song").mkdir()
    (tmp_path / "song" / "drums.wav").touch()
    with pytest.raises(StageError, match="no song that can be used, and 2 that cannot: song: .*drums.wav"):
        open_songs(tmp_path)


def test_the_command_lists_songs_hours_and_problems(tmp_path, capsys):
    for number in range(5):
        sets.musdb_hq(tmp_path, "train" if number else "test", f"Band - {number}")
    for number in (1, 2, 3):
        (tmp_path / "train" / f"Band - {number}" / "vocals.wav").unlink()
    assert cli.run(["data", str(tmp_path), "--examples", "2"]) == 0
    said = capsys.readouterr().out
    assert (
        "MUSDB18-HQ: 5 songs, 0.00 hours, 1 artist named" in said
        and "train 4" in said
        and "test 1" in said
        and "44100 5" in said
    )
    (row,) = [line for line in said.splitlines() if "vocals" in line and "Band" not in line]
    assert row.split("│")[2].strip() == "2"
    assert "3 file missing" in said and said.count("vocals.wav does not exist") == 2


def test_the_command_speaks_json(tmp_path, capsys):
    sets.moises(tmp_path)
    sets.moises(tmp_path, sets.UUIDS[1])
    assert cli.run(["data", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (
        said["kind"] == "moisesdb"
        and said["songs"] == 2
        and said["stems"]["drums"]
        == pytest.approx({"songs": 2, "tracks": 6, "hours": 2 * (RATE + 441 * 11) / RATE / 3600, "bleed": 2})
    )
    assert said["known"]["genres"] == 2 and said["known"]["beats"] == 0 and said["problems"] == []


def test_the_command_complains_in_one_line(tmp_path, capsys):
    assert cli.run(["data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "path, right",
    [
        ("s3://bucket/songs", "s3://bucket/songs"),
        (Path("s3://bucket/songs"), "s3://bucket/songs"),
        (Path("memory://a"), "memory://a"),
        ("songs", Path("songs")),
        ("C:/songs", Path("C:/songs")),
        (Path("/data/songs"), Path("/data/songs")),
        ("file:///data/my%20songs", Path("/data/my songs")),
        (Path("file:///data/songs"), Path("/data/songs")),
        ("file://songs", "file://songs"),
    ],
)
def test_a_url_that_went_through_a_path_is_one_again(path, right):
    assert location(path) == right and isinstance(location(path), type(right))


def test_only_a_prepared_set_has_a_url():
    with pytest.raises(StageError, match="copy the data set here"):
        open_songs("s3://bucket/songs", "musdb18")
    with pytest.raises(StageError, match="memory://nowhere/songs is not a prepared set"):
        open_songs(Path("memory://nowhere/songs"))


def test_facts_of_another_kind_are_left_out_and_reported(tmp_path):
    folder = sets.corpus(tmp_path, "train", "one")
    meta = json.loads((folder / "song.json").read_text())
    meta |= {"tempo": "fast", "key": 7, "chords": [{"start": 0.0, "end": "x"}], "beats": [0.5, 0.25, 1.0, 1.5]}
    (folder / "song.json").write_text(json.dumps(meta))
    problems = []
    (song,) = open_songs(tmp_path, problems=problems)
    assert (song.tempo, song.key, song.chords, song.beats) == (None, None, None, None)
    assert {problem.detail.split()[0] for problem in problems} == {"tempo", "key", "chords", "beats"}
    assert song.genres == ("funk",) and len(song.stems) == 3


@pytest.mark.parametrize("name", ["../../elsewhere/drums", "/etc/drums", "a\0b", "x" * 300])
def test_names_in_metadata_lead_nowhere_else(tmp_path, name):
    folder = sets.corpus(tmp_path, "train", "one")
    meta = json.loads((folder / "song.json").read_text())
    meta["stems"] = {name: {}}
    (folder / "song.json").write_text(json.dumps(meta))
    with pytest.raises(StageError, match="cannot be the name of a file"):
        open_songs(tmp_path)
