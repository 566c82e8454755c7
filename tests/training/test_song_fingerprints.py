"""A cache is used for the audio, the beats and the codec that it was made of, and for no other."""

import dataclasses
import json
import os

import pytest
import torch

from helpers.fake_songs import small_base, write_songs
from stage.data import open_songs
from stage.data.examples import CutOptions
from stage.training import song_fingerprints, state
from stage.training.finetune import tokencache


@pytest.fixture
def place(tmp_path):
    return write_songs(tmp_path / "songs", train=2, held=0, seconds=1.0)


def test_songs_are_recognised_by_audio_and_beats(place):
    first = song_fingerprints.songs(open_songs(place))
    assert song_fingerprints.songs(open_songs(place)) == first and first[0] != first[1]
    bass = place / "train" / "train-00" / "bass.flac"
    os.utime(bass, ns=(1, 1))
    touched = song_fingerprints.songs(open_songs(place))
    assert touched[0] != first[0] and touched[1] == first[1]
    song = open_songs(place)[1]
    for change in ({"beats": song.beats + 0.01}, {"genres": ("jazz",)}, {"tempo": 3.0}, {"stems": {}}):
        assert song_fingerprints.song(dataclasses.replace(song, **change)) != first[1]


def test_shards_are_recognised_by_the_checksum_in_their_index(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shard-00000.tar").write_bytes(name.encode())
        index = {"format": 1, "shards": [{"name": "shard-00000.tar", "sha256": f"of {name}", "songs": []}]}
        (tmp_path / name / "index.json").write_text(json.dumps(index), encoding="utf-8")
        os.utime(tmp_path / name / "shard-00000.tar", ns=(5, 5))
    assert [song_fingerprints.file(str(tmp_path / name / "shard-00000.tar")) for name in "ab"] == ["of a", "of b"]


def test_the_key_of_a_token_cache(place):
    songs, codec, options = open_songs(place), small_base().codec, CutOptions()
    first = tokencache.key(options, 1, songs, codec)
    assert tokencache.key(dataclasses.replace(options, text_dropout=0.9), 1, songs, codec) == first  # drawn at each use
    others = [
        tokencache.key(dataclasses.replace(options, leave_out=()), 1, songs, codec),
        tokencache.key(options, 2, songs, codec),
        tokencache.key(options, 1, songs[:1], codec),
        tokencache.key(options, 1, [songs[0], dataclasses.replace(songs[1], beats=songs[1].beats + 0.01)], codec),
    ]
    with torch.no_grad():
        codec.quantizer.embed[0, 0, 0] += 1e-3
    others.append(tokencache.key(options, 1, songs, codec))
    assert len({first, *others}) == 6


def test_a_cached_file_of_another_key_is_not_taken(tmp_path):
    path = tmp_path / "a.safetensors"
    assert not song_fingerprints.is_made(path, "1")
    state.save_weights(path, {"x": torch.ones(1)}, {"key": "1"})
    assert song_fingerprints.is_made(path, "1") and not song_fingerprints.is_made(path, "2")
    state.save_weights(path, {"x": torch.ones(1)})
    assert song_fingerprints.is_made(path, "2")  # of an earlier version
    path.write_bytes(path.read_bytes()[:20])
    assert not song_fingerprints.is_made(path, "2")
