"""The files of a result: named and checked before, written by the library as by the command line."""

import logging
import warnings

import numpy as np
import pytest

from helpers.fakes import echo_stage, song
from stage import Accompaniment, BeatGrid, StageError, audio
from stage.generation import picture
from stage.generation.outputs import Outputs


@pytest.fixture
def made(monkeypatch):
    stage, _ = echo_stage(monkeypatch, ("grid", "mix"))
    return stage.accompany(
        song(2.0, 32000), 32000, "drums", variations=2, seed=3, grid=BeatGrid.regular(120, 4, 3, 0.25)
    )


def test_save_writes_stems_mixes_pictures_and_beats(made, tmp_path):
    paths = made.save(tmp_path / "out", "tune", start=1.0)
    names = [f"tune.drums.{seed}{end}" for seed in (3, 4) for end in (".wav", ".mix.wav", ".png")]
    assert [path.name for path in paths] == [*names, "tune.drums.beats.txt"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
    stem, rate = audio.read(tmp_path / "out/tune.drums.4.wav")
    assert rate == 32000 and np.abs(stem - made.stems[1]).max() < 1e-6
    assert np.abs(audio.read(tmp_path / "out/tune.drums.4.mix.wav")[0] - made.mix(1)).max() < 1e-6
    assert np.allclose(BeatGrid.load(tmp_path / "out/tune.drums.beats.txt").times, made.grid.times + 1)
    with pytest.raises(StageError, match=r"tune\.drums\.3\.wav exists"):
        made.save(tmp_path / "out", "tune")
    assert len(made.save(tmp_path / "out", "tune", force=True)) == 7
    assert [path.name for path in made.save(tmp_path / "new", beats=False)][:2] == ["drums.3.wav", "drums.3.mix.wav"]


def test_a_name_that_is_too_long_is_refused_before_anything_is_written(made, tmp_path):
    long = "x" * 245
    with pytest.raises(StageError, match="a name of 257 bytes is too long, 255 are possible") as caught:
        Outputs.of(tmp_path / "out", long, "drums", (3,)).check()
    assert "\n" not in str(caught.value)
    with pytest.raises(StageError, match="too long"):
        made.save(tmp_path / "out", "ん" * 85)  # 255 bytes
    with pytest.raises(StageError, match="too long"):
        Outputs.of(tmp_path / long / ("y" * 256), "tune", "drums", (3,)).check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["04 絆ふぉーえばー 🥁", "caf\udce9", "$x^2_$", "new\nline\ttab", "100% %d"])
def test_any_name_is_drawn_without_a_word(made, tmp_path, name, capfd, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture.draw(tmp_path / "picture.png", made, 0, name)
    assert (tmp_path / "picture.png").stat().st_size > 10000
    assert caplog.records == [] and capfd.readouterr() == ("", "")
    assert logging.getLogger("matplotlib").level == logging.NOTSET


def test_a_result_is_short_to_print_and_compared_by_identity(made):
    assert repr(made) == "Accompaniment('drums', seeds=(3, 4), 2.00 s at 32000 Hz)"
    other = Accompaniment(made.stem, made.stems, made.song, made.rate, made.seeds)
    assert made == made and made != other
