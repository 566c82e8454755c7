"""The training of the chord network: its classes, its versions of songs, its steps."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from helpers.bands import RATE, band
from stage.beats.grid import BeatGrid
from stage.chords import Chart, parse, read
from stage.chords.network import STATES
from stage.corpus.read import songs
from stage.training.embedded import chords
from stage.training.embedded.chord_views import SILENT, kind, mistaken, shares_of, view
from stage.training.embedded.recipe import ChordRecipe
from stage.training.embedded.voice import voice
from stage.training.recipe import read as recipe_of

RECIPE = Path(__file__).parents[3] / "recipes" / "chords.yaml"
SECONDS = 9.6
GRID = BeatGrid.regular(100, 4, SECONDS)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A song for each split: a band and a click for drums."""
    root = tmp_path_factory.mktemp("corpus")
    for split, text in (("train", "| Am | F | C | G |"), ("heldout", "| Dm | Bb | F | C |")):
        chart, folder = read(text, GRID, SECONDS), root / split / f"{split}-0"
        folder.mkdir(parents=True)
        for stem, drums in (("keys", False), ("drums", True)):
            soundfile.write(folder / f"{stem}.flac", band(chart, SECONDS, drums)[0] * 0.5, RATE)
        rows = [
            dict(start=s.start, end=s.end, name=s.chord.name, root=s.chord.root, pitch_classes=list(s.chord.classes))
            for s in chart
        ]
        meta = dict(id=folder.name, rate=RATE, samples=round(SECONDS * RATE), stems={"keys": {}, "drums": {}})
        meta |= dict(beats=GRID.times.tolist(), downbeat_numbers=GRID.numbers.tolist(), chords=rows)
        (folder / "song.json").write_text(json.dumps(meta), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "name, known", [("Am7", "Am7"), ("C/E", "C"), ("Am/G", "Am"), ("F13", "F9"), ("Bdim7", "Bdim"), ("Gm11", "Gm9")]
)
def test_a_chord_counts_as_the_nearest_kind(name, known):
    assert STATES[kind(parse(name))].name == known
    assert kind(parse("N.C.")) == SILENT


def test_beats_have_shares_of_two_chords():
    classes, shares = shares_of(read("| Am | F |", BeatGrid.regular(60, 4, 8.0), 8.0), np.array([0.0, 3.5, 4.5, 9.0]))
    assert classes[:, 0].tolist() == [kind(parse("Am")), classes[1, 0].item(), kind(parse("F"))]
    assert set(classes[1].tolist()) == {kind(parse("Am")), kind(parse("F"))}
    assert shares[1].tolist() == [0.5, 0.5] and shares[0].tolist() == [1, 0]
    assert classes[2, 1] == SILENT  # after the last chord there is none
    assert shares_of(Chart(()), np.array([0.0, 1.0]))[0][0, 0] == SILENT


def test_notes_and_classes_change_their_key_together():
    notes = torch.zeros(1, 3, 88)
    notes[0, :, 12], notes[0, :, 52 + 36 - 1] = 1, 1
    made = chords.transposed(notes, 2)
    assert made[0, 0].nonzero().flatten().tolist() == [14]  # what passes the end of its register is lost
    assert chords.transposed(notes, -3)[0, 0].nonzero().flatten().tolist() == [9, 52 + 36 - 4]
    classes = torch.tensor([kind(parse("Am7")), kind(parse("C")), SILENT])
    assert [STATES[i].name for i in chords.turned(classes, 4)] == ["C#m7", "E", "N.C."]


def test_versions_differ_and_drums_alone_have_no_chord(corpus):
    song = songs(corpus, "train")[0]
    options = recipe_of(ChordRecipe, RECIPE, ["data.exact=1", "data.drums_alone=0"]).data
    first, again, other = (view(song, options, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["notes"], other["notes"]) and torch.equal(first["classes"], other["classes"])
    alone = recipe_of(ChordRecipe, RECIPE, ["data.drums_alone=1"]).data
    assert (view(song, alone, torch.Generator().manual_seed(1))["classes"][:, 0] == SILENT).all()


def test_beats_are_mistaken_as_trackers_do():
    options = recipe_of(ChordRecipe, RECIPE, ["data.exact=0"]).data
    found = [mistaken(GRID, SECONDS, options, torch.Generator().manual_seed(seed)) for seed in range(40)]
    counts = {0 if grid is None else len(grid) for grid in found}
    assert {0, len(GRID), len(GRID) // 2} <= counts and max(counts) > 1.8 * len(GRID)
    assert all(grid is None or (np.diff(grid.times) > 0).all() for grid in found)
    exact = recipe_of(ChordRecipe, RECIPE, ["data.exact=1"]).data
    assert mistaken(GRID, SECONDS, exact, torch.Generator().manual_seed(0)) is GRID


def test_a_voice_is_audible_and_in_the_chords():
    chart = read("| Am |", GRID, SECONDS)
    sung = voice(chart, 4 * 11025, 11025, torch.Generator().manual_seed(3))
    assert sung.shape == (4 * 11025,) and np.isfinite(sung).all() and 0.3 < np.sqrt(np.mean(sung**2)) < 2
    assert not voice(Chart(()), 1000, 11025, torch.Generator().manual_seed(3)).any()


def test_the_network_learns_and_goes_on(corpus, tmp_path):
    changes = ["width=8", "batch=4", "beats=[8,12]", "log_every=1", "save_every=10", "schedule.warmup=2", "dropout=0"]
    changes += ["data.exact=1", "data.drums_alone=0", "tilt=1", "seed=1"]
    chords.train(recipe_of(ChordRecipe, RECIPE, [*changes, "schedule.steps=20"]), corpus, tmp_path)

    def log() -> list[dict]:
        return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]

    losses = [line["loss"] for line in log() if "loss" in line]
    assert len(losses) == 20 and np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.safetensors")}
    weights = load_file(chords.train(recipe_of(ChordRecipe, RECIPE, [*changes, "schedule.steps=22"]), corpus, tmp_path))
    assert [line["step"] for line in log() if "loss" in line] == list(range(1, 23))
    assert len(stamps) == 2 and all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert all(tensor.isfinite().all() for tensor in weights.values())
