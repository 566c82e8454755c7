"""Prepared sets: the same songs at the model's rate with what was found out about them, resumable, in shards that can
be streamed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import miniatures
from stage.data import open_songs, prepared, splits
from stage.data.examples import CutOptions, Cutter
from stage.data.prepare import Settings, prepare
from stage.errors import StageError
from stage.files import LOCK, lock


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Four good songs, a silent one, one with a damaged file, and the first again under another name."""
    root = miniatures.band(tmp_path_factory.mktemp("band"), seconds=6.0)
    for name in ("drums", "bass", "keys"):
        first, rate = soundfile.read(root / "Artist 0" / "Song 0" / f"{name}.wav", dtype="float32")
        miniatures.write(root / "Copyist" / "Copy" / f"{name}.wav", 0.5 * first, rate)
        miniatures.write(root / "Quiet" / "Silence" / f"{name}.wav", np.zeros(rate * 3, np.float32), rate)
    (root / "Artist 3" / "Song 3" / "vocals.wav").write_bytes(b"RIFFxxxx")
    return root


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "songs"
    return out, prepare(source, out, Settings(16000), split="artist", held=0.3, shard_megabytes=0.3)


def test_songs_come_back_at_the_models_rate(source, made):
    out, problems = made
    songs = {song.id: song for song in open_songs(out)}
    before = {song.id: song for song in open_songs(source, rate=16000)}
    assert set(songs) == {f"Artist {i} - Song {i}" for i in range(1, 4)} | {
        next(name for name in songs if name in ("Artist 0 - Song 0", "Copyist - Copy"))
    }
    for name, song in songs.items():
        assert song.rate == 16000 and set(song.stems) == {"drums", "bass", "keys"}
        for start, count in ((0, 16000), (23456, 1234)):
            np.testing.assert_allclose(
                song.read("bass", start, count), before[name].read("bass", start, count), atol=1e-4
            )
        assert song.genres == before[name].genres and song.split in ("train", "heldout")
        assert set(song.loudness) == set(song.stems) and -40 < song.loudness["drums"] < 0
        whole = np.abs(song.read("drums", 0, song.samples))
        assert abs(song.peak("drums", 0, song.samples) - whole.max()) < 1e-3
    found = {(p.song, p.reason) for p in problems}
    assert ("Quiet - Silence", "silent song") in found
    assert ("Artist 3 - Song 3", "file unreadable") in found
    assert {p.reason for p in problems if p.song in ("Copyist - Copy", "Artist 0 - Song 0")} >= {"duplicate song"}


def test_beats_are_the_data_sets_or_tracked(made):
    songs = {song.id: song for song in open_songs(made[0])}
    np.testing.assert_allclose(np.diff(songs["Artist 2 - Song 2"].beats[:, 0]), 0.5, atol=1e-5)
    assert songs["Artist 2 - Song 2"].tempo == pytest.approx(120, abs=0.1)


def test_shards_are_whole_and_can_be_streamed(made):
    out, _ = made
    shards = sorted(out.glob("shard-*.tar"))
    assert len(shards) > 1 and prepared.verify(out) == []
    streamed = {about["id"]: stems for shard in shards for about, stems in prepared.stream(str(shard))}
    for song in open_songs(out):
        assert set(streamed[song.id]) == set(song.stems)
        np.testing.assert_array_equal(streamed[song.id]["keys"], song.read("keys", 0, song.samples)[0])
    data = bytearray(shards[0].read_bytes())
    data[2000] ^= 1
    whole = shards[0].read_bytes()
    shards[0].write_bytes(data)
    try:
        assert prepared.verify(out) == [shards[0].name]
    finally:
        shards[0].write_bytes(whole)


def test_from_an_object_store(made):
    import fsspec

    store = fsspec.filesystem("memory")
    for file in made[0].glob("*.*"):
        store.pipe(f"/bucket/songs/{file.name}", file.read_bytes())
    far, near = open_songs("memory://bucket/songs"), open_songs(made[0])
    assert [song.id for song in far] == [song.id for song in near]
    np.testing.assert_array_equal(far[0].read("bass", 777, 999), near[0].read("bass", 777, 999))
    with pytest.raises(StageError, match="not a prepared set"):
        open_songs("memory://bucket/nothing")


def test_examples_need_no_file_to_know_where_it_is_silent(made):
    cutter = Cutter(open_songs(made[0]), CutOptions(seconds=3.0, crop=(1.0, 3.0)), 0)
    assert {cutter(n).kind for n in range(12)} >= {"mix", "click"}


def test_a_second_call_does_nothing_and_a_new_song_is_added(tmp_path):
    root, out, done = miniatures.band(tmp_path / "band", songs=2, seconds=3.0), tmp_path / "out", []
    prepare(root, out, Settings(16000), on_song=lambda count, total, name: done.append(name))
    before = (out / "shard-00000.tar").read_bytes()
    frozen = splits.read(out)
    prepare(root, out, Settings(16000), on_song=lambda count, total, name: done.append(name))
    assert len(done) == 2
    miniatures.band(root, songs=3, seconds=3.0)
    prepare(root, out, Settings(16000), workers=2, on_song=lambda count, total, name: done.append(name))
    assert len(done) == 3 and len(open_songs(out)) == 3 and (out / "shard-00000.tar").read_bytes() == before
    assert splits.read(out).items() >= frozen.items()
    with pytest.raises(StageError, match="rate 16000"):
        prepare(root, out, Settings(32000))
    with pytest.raises(StageError, match="something else"):
        prepare(root, root, Settings(16000))


def test_killed_at_any_moment_it_goes_on(tmp_path):
    root, out = miniatures.band(tmp_path / "band", songs=6, seconds=8.0), tmp_path / "out"
    command = [sys.executable, "-m", "stage", "prepare", str(root), str(out), "--rate", "16000"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    while process.poll() is None and len(list(out.glob("work/*.report"))) < 2:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(out.glob("work/*.report")))
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    assert kept >= 2 and "6 songs" in ended.stdout and len(open_songs(out)) == 6
    assert [path.name for path in out.glob(".*")] == [LOCK] and "Hours of each stem" in (
        out / "summary.html"
    ).read_text()


@pytest.mark.slow
def test_on_a_ray_cluster_of_two_workers(tmp_path):
    ray = pytest.importorskip("ray", reason="the cluster extra is not installed")
    root = miniatures.band(tmp_path / "band", songs=3, seconds=3.0)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        prepare(root, tmp_path / "out", Settings(16000), ray="auto")
    finally:
        ray.shutdown()
    assert len(open_songs(tmp_path / "out")) == 3


def test_a_full_disk_is_reported_before_and_in_the_middle(tmp_path, monkeypatch):
    from types import SimpleNamespace

    import stage.data.prepare as module

    root = miniatures.band(tmp_path / "band", songs=1, seconds=3.0)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StageError, match="free"):
        prepare(root, tmp_path / "out", Settings(16000))
    monkeypatch.undo()

    sync = os.fsync
    for count, name in ((2, "song"), (3, "report"), (4, "shard"), (5, "index")):  # after the settings and the splits
        calls = iter(range(count))

        def full(handle, calls=calls):
            if next(calls, None) is None:
                raise OSError(28, "No space left on device")
            sync(handle)

        monkeypatch.setattr("stage.files.os.fsync", full)
        with pytest.raises(StageError, match="full.*goes on"):
            prepare(root, tmp_path / name, Settings(16000))
        monkeypatch.undo()
        assert not (tmp_path / name / "index.json").exists()
        assert prepare(root, tmp_path / name, Settings(16000)) == [] and len(open_songs(tmp_path / name)) == 1


def test_no_artist_is_in_two_splits(made):
    songs = [replace(song, artist=f"artist {i // 3}", split=None) for i, song in enumerate(open_songs(made[0]) * 20)]
    songs = [replace(song, id=f"{i:03d}") for i, song in enumerate(songs)]
    frozen = splits.assign(songs, {}, "auto", held=0.3)
    assert not splits.shared_artists(songs, frozen) and {"train", "heldout"} == set(frozen.values())
    more = [*songs, replace(songs[0], id="new"), replace(songs[0], id="other", artist="Somebody")]
    grown = splits.assign(more, frozen, "auto", held=0.9)
    assert grown.items() >= frozen.items() and grown["new"] == frozen["000"]
    assert [name for name, split in splits.assign(songs, {}, "paper").items() if split == "heldout"] == [
        song.id for song in songs[-24:]
    ]
    with pytest.raises(StageError, match="no splits of its own"):
        splits.assign(songs, {}, "own")


def test_a_damaged_index_is_reported(tmp_path):
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(StageError, match="index.json"):
        open_songs(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(StageError, match="another version"):
        open_songs(tmp_path)


@pytest.mark.parametrize("name", ["../other.tar", "/etc/passwd", "a/b.tar", "..", "", "C:\\x.tar", ".hidden", 7])
def test_a_foreign_index_names_no_file_elsewhere(tmp_path, name):
    shard = {"name": name, "sha256": "", "bytes": 1, "songs": []}
    (tmp_path / "index.json").write_text(json.dumps({"format": 1, "rate": 16000, "settings": {}, "shards": [shard]}))
    with pytest.raises(StageError, match="index.json is damaged"):
        open_songs(tmp_path)


def test_two_calls_never_meet_and_only_old_leftovers_go(tmp_path):
    root, out = miniatures.band(tmp_path / "band", songs=1, seconds=3.0), tmp_path / "out"
    prepare(root, out, Settings(16000))
    old = [out / ".index.json.4711", out / ".shard-00001.tar", out / "work" / ".Artist-1.report.4711"]
    other = out / "work" / ".other-running-call"
    for path in (*old, other):
        path.write_text("")
    with lock(out), pytest.raises(StageError, match="in use by another `stage prepare`"):
        prepare(root, out, Settings(16000))
    assert all(path.exists() for path in old)
    prepare(root, out, Settings(16000))
    assert not any(path.exists() for path in old) and other.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    root = miniatures.band(tmp_path / "band", songs=1, seconds=3.0)
    before = sorted(root.rglob("*"))
    with pytest.raises(StageError, match="something else"):
        prepare(root, root, Settings(16000))
    assert sorted(root.rglob("*")) == before


def test_damaged_files_of_an_unfinished_run_are_named(tmp_path):
    root, out = miniatures.band(tmp_path / "band", songs=1, seconds=3.0), tmp_path / "out"
    prepare(root, out, Settings(16000))
    for path, text in (
        (next(out.glob("work/*.report")), '[{"song": 1, "what": 2}]'),
        (out / "splits.json", "[1]"),
        (out / "settings.json", "["),
        (out / "index.json", '{"format": 1, "shards": [{"name": "shard-00000.tar", "songs": [{}]}]}'),
    ):
        right = path.read_text()
        path.write_text(text)
        with pytest.raises(StageError, match=path.name):
            prepare(root, out, Settings(16000))
        path.write_text(right)
    assert prepare(root, out, Settings(16000)) == []


def test_names_of_all_alphabets_and_a_song_that_breaks_the_tracker(tmp_path, monkeypatch):
    root, out = miniatures.band(tmp_path / "band", songs=3, seconds=3.0), tmp_path / "out"
    (root / "Artist 0" / "Song 0").rename(root / "Artist 0" / ("夜" * 60))
    (root / "Artist 0" / ("夜" * 60) / "bass.wav").rename(root / "Artist 0" / ("夜" * 60) / "théorbe.wav")
    (root / "stems.yaml").write_text("theorbo: [théorbe]\n", encoding="utf-8")
    (root / "Artist 1" / "Song 1" / "beats.txt").unlink()

    def broken(audio, rate):
        raise ValueError("no beat can be\nfound")

    monkeypatch.setattr("stage.beats.tracker.track", broken)
    problems = prepare(root, out, Settings(16000, tracker="stage"))
    assert [(p.song, p.reason, p.detail) for p in problems] == [
        ("Artist 1 - Song 1", "failed", "ValueError: no beat can be found")
    ]
    songs = open_songs(out)
    assert [song.title for song in songs] == ["夜" * 60, "Song 2"] and "theorbo" in songs[0].stems
    streamed = {about["id"]: set(stems) for about, stems in prepared.stream(str(out / "shard-00000.tar"))}
    assert streamed[songs[0].id] == {"drums", "keys", "theorbo"}
    assert prepare(root, out, Settings(16000, tracker="stage")) == problems  # reported again, not tried again


def test_few_artists_hold_one_out_all_the_same(made):
    songs = open_songs(made[0])
    three = [replace(songs[0], id=str(i), artist=f"artist {i}", split=None) for i in (1, 2, 3)]
    assert sorted(splits.assign(three, {}, "artist", held=0.1).values()) == ["heldout", "train", "train"]
    with pytest.raises(StageError, match="24"):
        splits.assign(three, {}, "paper")
