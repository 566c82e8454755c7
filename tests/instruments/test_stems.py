"""Stems of notes as sound, for the pipeline."""

import os

import numpy as np
import pytest
import soundfile

from helpers import soundfonts
from stage import instruments
from stage.errors import StageError
from stage.instruments import stems
from stage.models.playable import GROUPS, INSTRUMENTS
from stage.notes import Note

RATE = 22050


@pytest.fixture
def small(tmp_path):
    """An SFZ file with a sound for these keys alone; for one of them only softly played."""

    def make(keys, name="small.sfz", more=""):
        for key in keys:
            tone = 0.5 * np.sin(2 * np.pi * (200 + 10 * key) * np.arange(RATE // 8) / RATE)
            soundfile.write(tmp_path / f"{key}.wav", tone, RATE)
        text = "".join(f"<region> sample={key}.wav key={key} loop_mode=one_shot {more}\n" for key in keys)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return make


def test_every_instrument_of_the_player_is_shipped():
    shipped = instruments.names()
    for stem, names in INSTRUMENTS.items():
        for name in names:
            assert stems.name_of(stem, name) in shipped, (stem, name)
    assert stems.name_of("bass", "muted") == "bass/muted" and stems.name_of("guitar", "muted") == "guitar/muted"
    assert stems.name_of("drums", "My Kit.SFZ") == "My Kit.SFZ"
    for name in ("FM electric", "fm-electric", "keys/fm-electric", "keys/FM electric"):
        assert stems.name_of("keys", name) == "keys/fm-electric" and stems.program_of("keys", name) == 5
    assert stems.program_of("pads", "bowed-glass") == 92 and stems.program_of("bass", "my.sf2") == 33


def test_a_soundfont_is_played_by_the_preset_that_it_has(tmp_path):
    tone, kit = (soundfonts.write(tmp_path / f"{bank}.sf2", {54: 1}, bank=bank) for bank in (0, 128))
    for stem in ("drums", "bass"):
        for path in (tone, kit):
            assert np.abs(stems.sound([Note(0.0, 0.2, 69, 100)], stem, path, RATE, 0.2)).max() > 0.01


def test_pieces_are_those_of_the_codec():
    for group, articulations in GROUPS.items():
        for _, key in articulations:
            assert stems.piece_of(key) == {"high toms": "toms", "low toms": "toms"}.get(group, group)


@pytest.mark.parametrize("channels, rows", [(1, 1), (2, 2), (6, 2)])
def test_as_long_as_asked_on_as_many_channels_as_the_song(channels, rows):
    notes = [Note(0.0, 0.3, 36, 100), Note(0.4, 0.4, 49, 110)]
    audio = stems.sound(notes, "drums", "studio", RATE, 0.77777, channels=channels)
    assert audio.shape == (rows, round(0.77777 * RATE)) and audio.dtype == np.float32
    assert np.abs(audio[:, -100:]).max() > 1e-3  # the crash rings on to the end
    assert stems.sound([], "bass", "finger", 48000, 1.0).shape == (2, 48000)


def test_the_seed_decides_and_parts_are_the_whole():
    notes = [Note(0.1 * i, 0.1 * i + 0.3, 40 + i, 60 + i) for i in range(10)]
    one, again, other = (stems.sound(notes, "keys", "grand", RATE, 1.5, seed, -20.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    playing = stems.Playing("keys", "grand", RATE, 1, -20.0)
    got = [playing.push([n for n in notes if n.start < t], t) for t in (0.31, 0.32, 0.9)]
    np.testing.assert_allclose(np.concatenate([*got, playing.finish(1.5, notes)], axis=1), one, atol=1e-5)


def test_drums_are_not_tuned():
    hit = [Note(0.0, 0.1, 45, 100)]
    one, other = (stems.sound(hit, "drums", "studio", RATE, 0.3, cents=cents) for cents in (0.0, 40.0))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kit", ["studio", "brushes"])
def test_all_pieces_together_are_the_stem(kit):
    draws = np.random.default_rng(1)
    keys = [36, 38, 42, 46, 26, 49, 51, 41, 50, 54, 56]
    notes = [
        Note(float(t), float(t), int(draws.choice(keys)), int(draws.integers(20, 127))) for t in np.arange(0, 2, 0.04)
    ]
    whole = stems.sound(notes, "drums", kit, RATE, 2.5, seed=3)
    alone = dict(stems.pieces(notes, kit, RATE, 2.5, seed=3))
    assert list(alone) == ["kick", "snare", "hats", "toms", "ride", "crash", "percussion"]
    assert all(np.abs(audio).max() > 0.01 for audio in alone.values())
    np.testing.assert_allclose(sum(alone.values()), whole, atol=1e-5)
    assert list(dict(stems.pieces(notes[:0], kit, RATE, 1.0))) == []


@pytest.mark.parametrize(
    "there, key, played",
    [
        ((36, 38, 42), 22, 42),  # the edge: closed
        ((36, 38, 42), 46, 42),
        ((36, 38, 42), 40, 38),  # the rim shot: snare
        ((36, 38, 40, 42), 37, 40),
        ((36, 38, 42, 49), 55, 49),  # the splash: crash
        ((36, 38, 42, 49), 51, 49),
        ((36, 45), 50, 45),
        ((36, 38, 42), 54, 42),  # the tambourine: hats
        ((36, 38, 63), 61, 63),
        ((36, 38), 56, 38),  # nothing near
        ((48,), 36, 48),
    ],
)
def test_the_nearest_piece_that_a_kit_has(small, there, key, played):
    kit = small(there)
    sampler = stems.sampler("drums", kit, RATE)
    assert stems.stand_in(key, sampler, "drums") == played
    hit, other = ([Note(0.0, 0.0, k, 100)] for k in (key, played))
    audio = stems.sound(hit, "drums", kit, RATE, 0.2, 1)
    np.testing.assert_array_equal(audio, stems.sound(other, "drums", kit, RATE, 0.2, 1))
    assert np.abs(audio).max() > 0.1
    (said,) = stems.remarks(hit, "drums", kit, RATE)
    assert f"{key} ({played})" in said and "\n" not in said


def test_every_drum_key_finds_one(small):
    sampler = stems.sampler("drums", small((38,)), RATE)
    assert {stems.stand_in(key, sampler, "drums") for key in range(128)} == {38}


def test_pitches_out_of_reach_are_played_in_another_octave(small):
    sampler = stems.sampler("bass", small(range(40, 53)), RATE)
    assert [stems.stand_in(key, sampler, "bass") for key in (28, 40, 52, 55, 64)] == [40, 40, 52, 43, 52]
    assert stems.stand_in(30, stems.sampler("bass", small((40, 41), "two.sfz"), RATE), "bass") == 40


def test_velocities_without_a_layer_take_the_nearest(small):
    kit = small((38,), more="lovel=30 hivel=60")
    sampler = stems.sampler("drums", kit, RATE)
    notes = [Note(0.0, 0.0, 38, velocity) for velocity in (10, 45, 120)]
    assert [note.velocity for note in stems.playable(notes, sampler, "drums")] == [30, 45, 60]


def test_what_is_played_is_kept_until_the_file_changes(small):
    kit = small((38,))
    first = stems.sampler("drums", kit, RATE)
    assert stems.sampler("drums", kit, RATE) is first and stems.sampler("drums", kit, 48000) is not first
    small((38, 42))
    os.utime(kit, ns=(1, 1))
    assert stems.sampler("drums", kit, RATE).keys() == [38, 42]


def test_what_cannot_be_played_is_one_line(small, tmp_path):
    with pytest.raises(StageError, match='no instrument "bass/none"'):
        stems.sound([], "bass", "none", RATE, 1.0)
    with pytest.raises(StageError, match="has no sound for any key"):
        stems.sound([], "drums", small((38,), "none.sfz", more="lokey=40 hikey=30"), RATE, 1.0)
    kit = small((38,), more="flavour=7")
    assert "flavour" in stems.remarks([Note(0, 0, 38, 9)], "drums", kit, RATE)[0]
    (tmp_path / "38.wav").unlink()
    with pytest.raises(StageError, match=r"38\.wav does not exist"):
        stems.sound([], "drums", kit, 8000, 1.0)
