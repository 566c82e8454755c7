"""Any folder of stems: which names stand for which role, what the user adds, and what is known beside the audio."""

import json

import numpy as np
import pytest

from helpers import data_sets as sets
from helpers.data_sets import RATE, downmix, write
from stage.data import open_songs
from stage.data.readers import folder
from stage.data.readers.folder import extra_names
from stage.data.roles import Names, plain
from stage.errors import StageError


@pytest.mark.parametrize(
    "name, role",
    [
        ("drums", "drums"),
        ("01_Kick In", "drums"),
        ("Bass Drum", "drums"),
        ("DRUM_MIX", "drums"),
        ("OH-L", "drums"),
        ("HiHat", "drums"),
        ("Toms_02", "drums"),
        ("Midnight Ride - Bass", "bass"),
        ("bass", "bass"),
        ("BassGuitar DI", "bass"),
        ("synth bass", "bass"),
        ("Song - Bass (take 2)", "bass"),
        ("Gtr L", "guitar"),
        ("lead guitar", "guitar"),
        ("AcousticGuitar", "guitar"),
        ("Piano", "keys"),
        ("KEYS 2", "keys"),
        ("Synth", "keys"),
        ("synth pad", "pads"),
        ("Lead", "lead"),
        ("lead vocals", "vocals"),
        ("BackingVox3", "vocals"),
        ("violins", "strings"),
        ("Sax", "wind"),
        ("shaker", "percussion"),
        ("ukulele", "plucked"),
        ("fx", "other"),
        ("Full Mix", None),
        ("click", None),
        ("Guitar backing track", "guitar"),
    ],
)
def test_names_tell_roles(name, role):
    assert Names().role(name) == (True, role)


@pytest.mark.parametrize("name", ["take 7", "bassist's idea", "Kazoo", "monkeys", "thirteen", ""])
def test_a_part_of_a_word_tells_nothing(name):
    assert Names().role(name) == (False, None)


def test_the_users_names_go_first():
    names = Names({"drums": ["Schlagzeug", "tr*"], "kazoo": ["kazoo"], None: ["lead guitar"], "keys": ["Nord Stage"]})
    assert names.role("01 schlagzeug") == (True, "drums") and names.role("TR808") == names.role("trx 2") == (
        True,
        "drums",
    )
    assert names.role("Kazoos") == (True, "kazoo")
    assert names.role("Lead Guitar") == (True, None) and names.role("rhythm guitar") == (True, "guitar")
    assert names.role("NordStage_L") == (True, "keys")
    assert names.role("Drums", whole=True) == (True, "drums") and names.role("The Drums", whole=True) == (False, None)
    assert plain("01_BassGuitar(L)") == "01 bass guitar l"


def test_a_title_that_all_names_share_tells_no_stem():
    names = Names()
    assert names.roles(["Guitar Town - Bass", "Guitar Town - Drums", "Guitar Town - Mix"]) == [
        (True, "bass"),
        (True, "drums"),
        (True, None),
    ]
    assert names.roles(["Guitar Lead L", "Guitar Rhythm"]) == [(True, "guitar")] * 2
    assert names.roles(["Kick In", "Kick Out"]) == [(True, "drums")] * 2
    assert names.roles(["Guitar Town - Bass"]) == [(True, "guitar")] and names.roles([]) == []


def test_songs_are_found_at_any_depth(tmp_path):
    write(tmp_path / "train" / "A Band" / "First" / "drums.wav", 1)
    write(tmp_path / "train" / "A Band" / "First" / "bass.flac", 2)
    write(tmp_path / "test" / "Someone - Second" / "Drums" / "kick.wav", 3)
    write(tmp_path / "test" / "Someone - Second" / "Drums" / "snare.wav", 4)
    write(tmp_path / "test" / "Someone - Second" / "guitar.ogg", 5)
    write(tmp_path / "Third" / "keys.wav", 6)
    write(tmp_path / "Third" / "full mix.wav", 7)
    (tmp_path / "Third" / "._keys.wav").write_bytes(b"\x00\x05\x16\x07")
    problems = []
    first, second, third = open_songs(tmp_path, problems=problems)
    assert not problems
    assert (first.id, first.artist, first.title, first.split) == ("A Band - First", "A Band", "First", "train")
    assert (second.id, second.artist, second.title, second.split) == ("Someone - Second", "Someone", "Second", "test")
    assert (third.id, third.artist, third.title, third.split, list(third.stems)) == (
        "Third",
        "",
        "Third",
        None,
        ["keys"],
    )
    assert [track.kind for track in second.stems["drums"]] == ["kick", "snare"] and set(second.stems) == {
        "drums",
        "guitar",
    }
    whole = sum(downmix(tmp_path / "test" / "Someone - Second" / "Drums" / f"{name}.wav") for name in ("kick", "snare"))
    np.testing.assert_allclose(second.read("drums", 2000, 700)[0], whole[2000:2700], atol=1e-6)
    (alone,) = open_songs(tmp_path / "Third")
    assert alone.id == "Third"


def test_compressed_stems_are_cropped_to_the_sample(tmp_path):
    for name in ("drums.ogg", "bass.mp3"):
        sets.write_as(tmp_path / "song" / name, 5, 3 * RATE)
    (song,) = open_songs(tmp_path)
    for role, name in (("drums", "drums.ogg"), ("bass", "bass.mp3")):
        whole = downmix(tmp_path / "song" / name)
        for start in (0, 5000, RATE, 2 * RATE + 77):
            np.testing.assert_allclose(song.read(role, start, 4000)[0], whole[start : start + 4000], atol=1e-4)


def test_tracks_at_unequal_rates_play_in_time(tmp_path):
    write(tmp_path / "song" / "drums.wav", 1)
    write(tmp_path / "song" / "bass.wav", 1)
    click = np.zeros(48000, np.float32)
    click[24000] = 0.9
    sets.save(tmp_path / "song" / "keys.wav", click, 48000)
    (song,) = open_songs(tmp_path)
    assert song.rate == RATE and song.samples == RATE
    assert song.read("keys", 20000, 4000)[0].argmax() == 22050 - 20000
    (slower,) = open_songs(tmp_path, rate=32000)
    assert slower.read("keys", 15000, 4000)[0].argmax() == 1000


def test_unknown_names_are_reported_and_can_be_added(tmp_path):
    write(tmp_path / "song" / "Schlagzeug.wav", 1)
    write(tmp_path / "song" / "bass.wav", 2)
    write(tmp_path / "song" / "rough bass.wav", 3)
    problems = []
    (song,) = open_songs(tmp_path, problems=problems)
    assert set(song.stems) == {"bass"} and len(song.stems["bass"]) == 2
    assert [(problem.song, problem.reason, problem.stem) for problem in problems] == [
        ("song", "stem name unknown", "Schlagzeug")
    ]
    assert "stems.yaml" in problems[0].detail
    (tmp_path / "stems.yaml").write_text("drums: [schlagzeug, batterie]\nignore: rough*\n")
    (song,) = open_songs(tmp_path, problems=(later := []))
    assert {role: len(tracks) for role, tracks in song.stems.items()} == {"drums": 1, "bass": 1} and not later
    (tmp_path / "stems.yaml").unlink()
    (tmp_path / "stems.json").write_text(json.dumps({"drums": ["schlagzeug"]}))
    assert set(open_songs(tmp_path)[0].stems) == {"bass", "drums"}


@pytest.mark.parametrize(
    "text, message",
    [
        ("drums: 7", "needs a list"),
        ("drums: ['*']", "needs a list"),
        ("Big Drums: [x]", "small letters"),
        ("- drums", "must be a table"),
        ("drums: [", "not YAML"),
    ],
)
def test_a_table_of_names_that_cannot_be_used_stops(tmp_path, text, message):
    (tmp_path / "stems.yaml").write_text(text)
    with pytest.raises(StageError, match=message):
        extra_names(tmp_path)


def test_what_the_user_tells_of_a_song(tmp_path):
    write(tmp_path / "song" / "drums.wav", 1)
    (tmp_path / "song" / "song.yaml").write_text(
        "artist: Me\ntempo: 98.5\nkey: C# minor\ngenres: [dub, reggae]\nmoods: calm\nsplit: test\n"
    )
    (tmp_path / "song" / "beats.txt").write_text("# tapped\n0.1 4\n0.6 1\n")
    (song,) = open_songs(tmp_path)
    assert (song.artist, song.title, song.tempo, song.key, song.genres, song.moods, song.split) == (
        "Me",
        "song",
        98.5,
        "C# minor",
        ("dub", "reggae"),
        ("calm",),
        "test",
    )
    assert song.beats.tolist() == [[0.1, 4], [0.6, 1]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("tempp: 98", "is tempo meant"),
        ("tempo: fast", "tempo cannot be 'fast'"),
        ("tempo: 9000", "tempo cannot be 9000"),
        ("genres: {a: b}", "genres cannot be"),
        ("[", "not YAML"),
    ],
)
def test_what_makes_no_sense_is_reported_and_the_song_stays(tmp_path, text, message):
    write(tmp_path / "song" / "drums.wav", 1)
    (tmp_path / "song" / "song.yaml").write_text(text)
    (tmp_path / "song" / "beats.txt").write_text("0.5 1\n0.4 2\n")
    problems = []
    (song,) = open_songs(tmp_path, problems=problems)
    assert song.tempo is None and song.beats is None
    assert [problem.reason for problem in problems] == ["bad metadata", "beats unreadable"] and message in problems[
        0
    ].detail


def song(folder, *names):
    for at, name in enumerate(names or ("drums.wav", "bass.wav")):
        write(folder / name, at + 1)


def found(root):
    """(ids with the split, [(song, reason, file)] of the problems)"""
    problems = []
    songs = open_songs(root, "folder", problems=problems)
    return {song.id: song.split for song in songs}, {(one.song, one.reason, one.stem) for one in problems}


@pytest.mark.parametrize("stray", ["rough bass idea.wav", "reference song.wav", "notes.wav", "drums.wav"])
def test_a_stray_file_beside_songs_is_reported_and_hides_none(tmp_path, stray):
    song(tmp_path / "A")
    song(tmp_path / "Band" / "B")
    song(tmp_path / "Band" / "C")
    write(tmp_path / stray, 3)
    write(tmp_path / "Band" / stray, 3)
    songs, problems = found(tmp_path)
    assert set(songs) == {"A", "Band - B", "Band - C"}
    assert problems == {(name, "file beside songs", stray[:-4]) for name in (tmp_path.name, "Band")}


def test_two_strays_beside_several_songs_are_no_song(tmp_path):
    song(tmp_path / "A")
    song(tmp_path / "B")
    song(tmp_path)
    songs, problems = found(tmp_path)
    assert set(songs) == {"A", "B"} and {stem for _, _, stem in problems} == {"drums", "bass"}


def test_a_song_with_a_folder_of_older_takes_stays_a_song(tmp_path):
    song(tmp_path / "A")
    song(tmp_path / "A" / "old takes")
    song(tmp_path / "A" / "drums 2", "kick.wav")
    songs, problems = found(tmp_path)
    assert set(songs) == {"A"}
    assert problems == {("A", "folder not read", "old takes"), ("A", "folder not read", "drums 2")}


@pytest.mark.parametrize(
    "titles", [["Crash"], ["Crash", "Strings"], ["Crash", "Strings", "Second"], ["Crash", "First"]]
)
def test_a_song_may_be_called_like_a_stem(tmp_path, titles):
    for title in titles:
        song(tmp_path / title)
    assert found(tmp_path) == (dict.fromkeys(titles), set())


def test_a_stems_folder_may_hold_tracks_of_several_roles(tmp_path):
    song(tmp_path / "Song" / "drums", "kick.wav", "snare.wav", "shaker.wav")
    song(tmp_path / "Song" / "keys", "piano.wav", "pad.wav")
    (one,) = open_songs(tmp_path)
    assert one.id == "Song" and {role: len(tracks) for role, tracks in one.stems.items()} == {"drums": 3, "keys": 2}


def test_links_are_followed_once(tmp_path):
    root = tmp_path / "set"
    song(tmp_path / "elsewhere" / "Real")
    song(root / "Zebra")
    (root / "Linked").symlink_to(tmp_path / "elsewhere" / "Real")
    (root / "Alias").symlink_to(root / "Zebra")
    (root / "Loop").symlink_to(root)
    (root / "Up").symlink_to(tmp_path)
    assert found(root) == ({"Linked": None, "Zebra": None}, set())


@pytest.mark.parametrize("kind, codec", [("m4a", "aac"), ("opus", "libopus"), ("aac", "aac"), ("wma", "wmav2")])
def test_other_forms_are_read_and_cropped_to_the_sample(tmp_path, kind, codec):
    av = pytest.importorskip("av")
    path, rate = tmp_path / "song" / f"drums.{kind}", 48000
    path.parent.mkdir()
    tone = 0.3 * np.sin(np.arange(3 * rate) * 0.02 * (1 + np.arange(3 * rate) / rate)).astype(np.float32)
    with av.open(str(path), "w", format={"m4a": "ipod", "aac": "adts", "wma": "asf"}.get(kind)) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.codec_context.layout, stream.codec_context.bit_rate = "mono", 96_000
        fifo = av.AudioFifo()
        form = stream.codec_context.format.name
        for block in np.split(tone, 10):
            frame = av.AudioFrame.from_ndarray(block[None], "fltp", "mono")
            frame.sample_rate = rate
            for part in av.AudioResampler(form, "mono", rate).resample(frame):
                fifo.write(part)
        while part := fifo.read(stream.codec_context.frame_size or 960, partial=True):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    problems = []
    (one,) = open_songs(tmp_path, problems=problems)
    whole = one.read("drums", 0, one.samples)[0]
    assert abs(one.samples - 3 * rate) < 0.1 * rate and 0.15 < np.sqrt(np.mean(whole**2)) < 0.25
    for start in (0, 5000, rate, 2 * rate + 77, one.samples - 4000):
        np.testing.assert_allclose(
            one.read("drums", start, 4000)[0], whole[start : start + 4000], atol=1e-2
        )  # noise is the decoder's own
    assert [problem.reason for problem in problems] == (["start inexact"] if kind in ("aac", "wma") else [])


def test_what_is_not_read_is_reported(tmp_path):
    song(tmp_path / "A", "drums.wav", "_bass.wav", "keys.wav")
    song(tmp_path / "_later" / "B")
    (tmp_path / "A" / "video.mp4").write_bytes(b"0")
    (tmp_path / "A" / "._keys.wav").write_bytes(b"0")
    (tmp_path / "A" / "notes.txt").write_text("hello")
    songs, problems = found(tmp_path)
    assert set(songs) == {"A"} and problems == {
        ("A", "name begins with _", "_bass"),
        ("A", "file not read", "video"),
        (tmp_path.name, "name begins with _", "_later"),
    }


def test_a_split_is_named_by_the_folders_at_the_top_alone(tmp_path):
    song(tmp_path / "one" / "test" / "Album" / "A")
    song(tmp_path / "one" / "rock" / "test" / "B")
    song(tmp_path / "one" / "train" / "test" / "C")
    assert found(tmp_path / "one")[0] == {"Album - A": "test", "rock - test - B": None, "test - C": "train"}
    song(tmp_path / "twice" / "train" / "train" / "A")
    song(tmp_path / "twice" / "train" / "test" / "B")
    assert found(tmp_path / "twice")[0] == {"A": "train", "B": "test"}
    assert found(tmp_path / "twice" / "train" / "test")[0] == {"B": "test"}


def test_a_folder_that_cannot_be_looked_into_is_reported(tmp_path, monkeypatch):
    song(tmp_path / "A")
    (tmp_path / "locked").mkdir()
    look = folder.os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(folder.os, "scandir", scandir)
    songs, problems = found(tmp_path)
    assert set(songs) == {"A"} and problems == {("locked", "folder unreadable", "")}
