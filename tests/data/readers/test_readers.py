"""Each data set, on a miniature of its real layout: roles, tracks, tags, beats, and crops that are cuts of the
whole."""

import json
import shutil

import numpy as np
import pytest
import soxr

from helpers import data_sets as sets
from helpers.data_sets import RATE, UUIDS, downmix
from helpers.recordings import real_stems
from stage.data import open_songs
from stage.data.midi import beats, tempo_map
from stage.errors import StageError


def one(root, **options):
    problems = []
    (song,) = open_songs(root, problems=problems, **options)
    return song, problems


def check_crops(song, role, whole, tolerance=1e-6, before=0):
    """Crops of a role are cuts of `whole` (float32 [N] at the song's rate, from `before` samples before the song),
    zeros beyond."""
    rng = np.random.default_rng(3)
    padded = np.pad(whole, (500, song.samples + 3000))[before:]
    starts = [-300, 0, 1, song.samples - 700, *rng.integers(0, song.samples - 1000, 6)]
    for start in starts:
        samples = int(rng.integers(900, 3000))
        crop = song.read(role, int(start), samples)
        assert crop.shape == (1, samples) and crop.dtype == np.float32
        np.testing.assert_allclose(crop[0], padded[500 + start :][:samples], atol=tolerance)


# ---------------------------------------------------------------- MoisesDB


def test_moisesdb_stems_become_roles_and_tracks_add_up(tmp_path):
    folder = sets.moises(tmp_path)
    song, problems = one(tmp_path)
    assert not problems
    assert (song.id, song.artist, song.title, song.genres, song.split) == (
        UUIDS[0],
        "The Miniatures",
        "Small",
        ("singer songwriter",),
        None,
    )
    # The stem name that occurs twice and the other keys are one role; the click track is not a stem.
    assert {role: len(tracks) for role, tracks in song.stems.items()} == {
        "drums": 3,
        "percussion": 1,
        "bass": 1,
        "keys": 3,
        "vocals": 2,
    }
    assert [(track.kind, track.bleed) for track in song.stems["drums"]] == [
        ("snare drum", False),
        ("kick drum", False),
        ("overheads", True),
    ]
    assert song.rate == RATE and song.samples == RATE + 441 * 10 + 441  # the longest
    parts = [downmix(path) for path in sorted((folder / "drums").iterdir())]
    whole = np.zeros(song.samples, np.float32)
    for part in parts:
        whole[: len(part)] += part
    check_crops(song, "drums", whole)
    together = song.read("drums", 100, 500) + song.read("bass", 100, 500)
    np.testing.assert_allclose(song.read(["drums", "bass", "no such role"], 100, 500), together, atol=1e-6)


@pytest.mark.parametrize("below", ["moisesdb", "moisesdb/moisesdb_v0.1"])
def test_moisesdb_is_known_from_any_of_its_folders(tmp_path, below):
    sets.moises(tmp_path)
    sets.moises(tmp_path, UUIDS[1], artist="Others")
    assert [song.id for song in open_songs(tmp_path / below)] == list(UUIDS[:2])


def test_moisesdb_of_another_version_stops_at_once(tmp_path):
    sets.moises(tmp_path)
    (tmp_path / "moisesdb" / "moisesdb_v0.1").rename(tmp_path / "moisesdb" / "moisesdb_v0.2")
    with pytest.raises(StageError, match="moisesdb_v0.2.*moisesdb_v0.1"):
        open_songs(tmp_path)


def test_moisesdb_metadata_that_do_not_fit_leave_the_song_out(tmp_path):
    sets.moises(tmp_path, UUIDS[0])
    broken = sets.moises(tmp_path, UUIDS[1]) / "data.json"
    broken.write_text('{"song": "x", "stems": [{"stemName": "drums"}]}')
    (sets.moises(tmp_path, UUIDS[2]) / "data.json").unlink()
    problems = []
    assert [song.id for song in open_songs(tmp_path, problems=problems)] == [UUIDS[0]]
    assert [(problem.song, problem.reason) for problem in problems] == [
        (UUIDS[1], "bad metadata"),
        (UUIDS[2], "no metadata"),
    ]
    assert "not of MoisesDB v0.1" in problems[0].detail and str(broken) in problems[0].detail


def test_an_unknown_moisesdb_stem_is_reported_and_the_rest_read(tmp_path):
    sets.moises(tmp_path, stems=(("drums", [("toms", False)]), ("theremin", [("theremin", False)])))
    song, (problem,) = one(tmp_path)
    assert set(song.stems) == {"drums"} and (problem.reason, problem.stem) == ("stem name unknown", "theremin")


# ---------------------------------------------------------------- MUSDB18


def test_musdb_hq(tmp_path):
    folder = sets.musdb_hq(tmp_path, "train", "A Band - A Song - Live")
    sets.musdb_hq(tmp_path, "test", "Another - One")
    problems = []
    first, second = open_songs(tmp_path, problems=problems)
    assert not problems
    assert (first.id, first.artist, first.title, first.split) == (
        "A Band - A Song - Live",
        "A Band",
        "A Song - Live",
        "train",
    )
    assert second.split == "test" and set(second.stems) == {"drums", "bass", "other", "vocals"}
    check_crops(first, "bass", downmix(folder / "bass.wav"))
    assert [song.split for song in open_songs(tmp_path / "test")] == ["test"]


def test_crops_at_another_rate_are_cuts_of_the_whole_resampled(tmp_path):
    folder = sets.musdb_hq(tmp_path, "train", "A - B", samples=2 * RATE)
    song, _ = one(tmp_path, rate=32000)
    assert (song.rate, song.samples) == (32000, 64000)
    # With silence around it: a song that begins at full level rings before its first sample, and so does a crop
    # there.
    around = soxr.resample(np.pad(downmix(folder / "drums.wav"), 4410), RATE, 32000, quality="HQ")
    check_crops(song, "drums", around, tolerance=2e-5, before=3200)


def test_musdb_mp4_on_a_real_recording(tmp_path):
    path = tmp_path / "train" / "The Easton Ellises - Falcon 69.stem.mp4"
    path.parent.mkdir()
    shutil.copy(real_stems(), path)
    song, problems = one(tmp_path)
    assert not problems and (song.artist, song.title, song.split, song.rate) == (
        "The Easton Ellises",
        "Falcon 69",
        "train",
        RATE,
    )
    assert list(song.stems) == ["drums", "bass", "other", "vocals"]
    for stream, role in ((1, "drums"), (4, "vocals")):
        whole = sets.decoded(path, stream)
        assert song.samples == len(whole)
        check_crops(song, role, whole, tolerance=0)
    # The streams are what their names say: together they are the mixture, as far as its codec allows.
    mixture, together = sets.decoded(path, 0), song.read(song.stems, 0, song.samples)[0]
    assert np.corrcoef(mixture, together)[0, 1] > 0.95


def test_musdb_mp4_with_an_edit_list_is_cropped_to_the_sample(tmp_path):
    path = sets.mp4(tmp_path / "test" / "A - B.stem.mp4", seconds=3.0)
    song, problems = one(tmp_path)
    assert not problems and song.split == "test"
    whole = sets.decoded(path, 2)
    assert song.samples == len(whole) and abs(song.seconds - 3) < 0.03
    check_crops(song, "bass", whole, tolerance=0)
    assert np.corrcoef(whole[: 2 * RATE], sets.noise(2, 3 * RATE).mean(1)[: 2 * RATE])[0, 1] > 0.9


def test_musdb_mp4_with_other_streams_or_cut_off_is_left_out(tmp_path):
    sets.mp4(tmp_path / "train" / "A - Good.stem.mp4")
    sets.mp4(tmp_path / "train" / "B - Two.stem.mp4", streams=2)
    (tmp_path / "train" / "C - Empty.stem.mp4").touch()
    whole = real_stems().read_bytes()
    (tmp_path / "train" / "D - Cut.stem.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "train" / "E - Text.stem.mp4").write_text("not found")
    problems = []
    assert [song.id for song in open_songs(tmp_path, problems=problems)] == ["A - Good"]
    assert [(problem.song[0], problem.reason) for problem in problems] == [
        ("B", "wrong number of streams"),
        ("C", "file empty"),
        ("D", "file truncated"),
        ("E", "file unreadable"),
    ]


# ---------------------------------------------------------------- Slakh2100


@pytest.mark.parametrize("extension", ["flac", "wav"])
def test_slakh(tmp_path, extension):
    folder = sets.slakh(tmp_path, "validation", "Track00001", extension=extension)
    song, problems = one(tmp_path)
    assert not problems and (song.id, song.split) == ("Track00001", "validation")
    assert {role: len(tracks) for role, tracks in song.stems.items()} == {
        "keys": 2,
        "drums": 1,
        "bass": 1,
        "strings": 1,
        "guitar": 1,
    }
    np.testing.assert_allclose(song.beats[:, 0], 0.5 * np.arange(8), atol=1e-9)
    assert song.beats[:, 1].tolist() == [1, 2, 3, 4] * 2 and song.tempo == pytest.approx(120)
    check_crops(song, "keys", sum(downmix(folder / "stems" / f"{key}.{extension}") for key in ("S00", "S06")))


def test_babyslakh_has_no_splits(tmp_path):
    sets.slakh(tmp_path, "", "Track00007", extension="wav")
    song, _ = one(tmp_path)
    assert song.id == "Track00007" and song.split is None


def test_slakh_duplicates_and_what_redux_omits_are_left_out(tmp_path):
    sets.slakh(tmp_path, "train", "Track00001", uuid="a")
    sets.slakh(tmp_path, "test", "Track00002", uuid="a")
    sets.slakh(tmp_path, "omitted", "Track00003", uuid="c")
    problems = []
    assert [song.id for song in open_songs(tmp_path, problems=problems)] == ["Track00001"]
    assert sorted((problem.song, problem.reason) for problem in problems) == [
        ("Track00002", "duplicate"),
        ("Track00003", "duplicate"),
    ]


def test_slakh_without_beats_or_with_a_stem_missing_stays(tmp_path):
    folder = sets.slakh(tmp_path, "train", "Track00001")
    (folder / "all_src.mid").write_bytes(b"MThd\x00\x00\x00\x06\x00\x01")
    (folder / "stems" / "S06.flac").unlink()
    song, problems = one(tmp_path)
    assert song.beats is None and song.tempo is None
    # One of the two keys is gone: its rest alone would be a wrong target.
    assert "keys" not in song.stems and {"drums", "bass"} <= set(song.stems)
    assert sorted((problem.reason, problem.stem) for problem in problems) == [
        ("beats unreadable", ""),
        ("file missing", "keys"),
    ]


def test_slakh_metadata_that_cannot_be_read(tmp_path):
    sets.slakh(tmp_path, "train", "Track00001")
    (sets.slakh(tmp_path, "train", "Track00002") / "metadata.yaml").write_text("stems: {S00: [")
    (sets.slakh(tmp_path, "train", "Track00003") / "metadata.yaml").unlink()
    problems = []
    assert [song.id for song in open_songs(tmp_path, problems=problems)] == ["Track00001"]
    assert [(problem.song, problem.reason) for problem in problems] == [
        ("Track00002", "bad metadata"),
        ("Track00003", "no metadata"),
    ]


def test_a_tempo_map_with_changes_of_tempo_and_metre(tmp_path):
    # two bars of 4/4 at 120, a bar of 3/4 whose tempo falls to 60 at its second beat, then 6/8 in dotted quarters
    path = sets.midi(tmp_path / "a.mid", [(0, 120), (9, 60)], [(0, 4, 4), (8, 3, 4), (11, 6, 8)])
    grid = beats(path, 12.0)
    expected = [*(0.5 * np.arange(9)), 4.5, 5.5, 6.5, 8.0, 9.5, 11.0]
    np.testing.assert_allclose(grid.times, expected, atol=1e-6)
    assert grid.numbers.tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 1, 2, 1, 2]
    assert len(beats(path, 3.0)) == 6


def test_the_tempo_map_is_what_another_reader_finds(tmp_path):
    mido = pytest.importorskip("mido")
    rng = np.random.default_rng(7)
    for number in range(20):
        tempi = [(float(quarter), float(rng.uniform(40, 200))) for quarter in rng.integers(0, 4000, 6)]
        metres = [
            (int(quarter), int(rng.integers(1, 13)), int(2 ** rng.integers(1, 4))) for quarter in rng.integers(0, 90, 3)
        ]
        path = sets.midi(tmp_path / f"{number}.mid", tempi, metres, ticks=int(rng.choice([96, 220, 480])))
        file = mido.MidiFile(path)
        # What stands between: a system exclusive message, a long text, other channel messages with and without running
        # status.
        file.tracks[1][:0] = [
            mido.Message("sysex", data=range(100)),
            mido.MetaMessage("text", text="x" * 300),
            mido.Message("program_change", program=3),
            mido.Message("pitchwheel", pitch=77, time=200),
            mido.MetaMessage("set_tempo", tempo=444444, time=20000),
        ]
        file.save(path)
        found = {"set_tempo": {0: (500000,)}, "time_signature": {0: (4, 4)}}
        for track in mido.MidiFile(path).tracks:
            now = 0
            for message in track:
                now += message.time
                if message.type in found:
                    fields = ("tempo",) if message.type == "set_tempo" else ("numerator", "denominator")
                    found[message.type][now] = tuple(getattr(message, field) for field in fields)
        ticks, own_tempi, own_metres = tempo_map(path.read_bytes())
        assert ticks == file.ticks_per_beat
        assert own_tempi == [(tick, *rest) for tick, rest in sorted(found["set_tempo"].items())]
        assert own_metres == [(tick, *rest) for tick, rest in sorted(found["time_signature"].items())]


def test_an_impossible_tempo_is_an_error(tmp_path):
    with pytest.raises(StageError, match="more than 20 a second"):
        beats(sets.midi(tmp_path / "a.mid", [(0, 6e7)], [(0, 4, 4)]), 10.0)


@pytest.mark.parametrize("cut", [0, 10, 14, 30, 60])
def test_a_midi_file_that_is_cut_off_is_an_error(tmp_path, cut):
    path = sets.midi(tmp_path / "a.mid", [(0, 120)], [(0, 4, 4)])
    path.write_bytes(path.read_bytes()[:cut])
    if cut == 14:  # a file without any track is whole
        assert len(beats(path, 2.0)) == 4
        return
    with pytest.raises(StageError, match="cannot be read"):
        beats(path, 2.0)


# ---------------------------------------------------------------- the corpus


def test_the_corpus_gives_all_its_metadata(tmp_path):
    folder = sets.corpus(tmp_path, "heldout", "heldout-0001-000000")
    sets.corpus(tmp_path, "train", "train-0001-000000")
    held, train = open_songs(tmp_path)
    assert (held.split, train.split, held.rate, held.samples) == ("heldout", "train", 32000, 64000)
    assert (held.tempo, held.key, held.genres, held.moods) == (120.0, "C# minor", ("funk",), ("warm", "busy"))
    assert held.beats.tolist() == [[0.25, 3], [0.75, 4], [1.25, 1], [1.75, 2]] and held.chords[0]["root"] == 1
    assert held.captions == ("a warm funk song", "busy") and held.stems["drums"][0].kind == "drums part"
    check_crops(held, "keys", downmix(folder / "keys.flac"))


def test_a_corpus_song_of_another_version_is_left_out(tmp_path):
    sets.corpus(tmp_path, "train", "a")
    path = sets.corpus(tmp_path, "train", "b") / "song.json"
    meta = json.loads(path.read_text())
    del meta["downbeat_numbers"]
    path.write_text(json.dumps(meta))
    (sets.corpus(tmp_path, "train", "c") / "song.json").write_text("{")
    problems = []
    assert [song.id for song in open_songs(tmp_path, problems=problems)] == ["a"]
    assert [(problem.song, problem.reason) for problem in problems] == [("b", "bad metadata"), ("c", "bad metadata")]
