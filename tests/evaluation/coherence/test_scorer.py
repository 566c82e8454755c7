"""The offline scorer ranks contexts: shipped weights on songs of another making, and a miniature
training."""

import numpy as np
import pytest
import torch

from helpers.clips import write_corpus
from helpers.miniatures import band
from stage.cli import app as cli
from stage.data import open_songs
from stage.errors import StageError
from stage.evaluation.coherence import scorers, spectra
from stage.evaluation.coherence.validate import validate
from stage.training.embedded.recipe import ScorerRecipe
from stage.training.embedded.scorer import song_bands, train
from stage.typed import build

RECIPE = build(
    ScorerRecipe,
    {
        "seed": 1,
        "batch": {"rows": 4, "transpose": 0.5, "mask": 0.2, "noise": 0.05},
        "optimizer": {"lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"steps": 12, "warmup": 2},
        "log_every": 1,
        "save_every": 5,
    },
    "the test's recipe",
)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return open_songs(write_corpus(tmp_path_factory.mktemp("corpus"), seconds=16.0))


def test_the_shipped_scorer_ranks_the_right_context_first(songs):
    found = validate(songs, scorers(), 12, seed=2)
    for way in ("another song", "half a beat late"):
        hits = np.concatenate([found["ours", stem, way] for stem in ("drums", "bass", "keys")])
        assert len(hits) > 20 and hits.mean() > 0.75, way


def test_the_score_depends_on_time_and_not_on_level(songs):
    ours, song = scorers()["ours"], songs[1]
    stem, context = song.read("drums", 0, 5 * song.rate)[0], song.read(["bass", "keys"], 0, 5 * song.rate)[0]
    right = ours(stem, context, song.rate)
    assert ours(0.2 * stem, context, song.rate) == pytest.approx(right, abs=1.0)
    assert right > ours(stem, np.roll(context, round(30 / song.tempo * song.rate)), song.rate)
    with pytest.raises(StageError, match="5 seconds"):
        ours(stem[: song.rate], context, song.rate)


def test_powers_of_stems_add_up_and_keys_move():
    time = np.arange(2 * spectra.RATE) / spectra.RATE
    low, high = (torch.from_numpy(0.3 * np.sin(2 * np.pi * hz * time)).float() for hz in (220.0, 880.0))
    mix, parts = spectra.bands(low + high), spectra.bands(low) + spectra.bands(high)
    inside = slice(20, -20)
    assert float((mix - parts)[inside].abs().sum() / mix[inside].sum()) < 0.05
    key = spectra.MELS + 57 - spectra.LOWEST_KEY  # A3
    assert int(spectra.bands(low)[50, spectra.MELS :].argmax()) + spectra.MELS == key
    assert int(spectra.transpose(spectra.bands(low), 3)[50, spectra.MELS :].argmax()) + spectra.MELS == key + 3


def test_a_training_goes_on_and_learns(tmp_path, songs):
    losses = []
    train(RECIPE, songs, tmp_path / "run", on_step=lambda step, figures: losses.append((step, figures["loss"])))
    assert [step for step, _ in losses] == list(range(1, 13)) and losses[-1][1] < losses[0][1]
    weights = (tmp_path / "run" / "scorer.safetensors").read_bytes()
    train(RECIPE, songs, tmp_path / "run", on_step=lambda step, figures: losses.append((step, figures["loss"])))
    assert len(losses) == 12 and (tmp_path / "run" / "scorer.safetensors").read_bytes() == weights
    with pytest.raises(StageError, match="two songs"):
        song_bands(songs[:1], tmp_path / "bands")


def test_the_command_prints_a_table(tmp_path, capsys):
    assert cli.run(["coherence", "--data", str(band(tmp_path, songs=3, seconds=16.0)), "--trials", "10"]) == 0
    said = capsys.readouterr().out
    assert (
        "| scorer, stem (3 songs) | another song |" in said and "| ours, drums | " in said and "| ours, bass | " in said
    )
