import numpy as np

from helpers.fakes import drawn_stage
from stage.beats.grid import BeatGrid
from stage.evaluation import fingerprints
from stage.evaluation.figures.harmony import Chord
from stage.evaluation.truth import Truth


def test_a_model_is_its_weights(tmp_path):
    stage = drawn_stage()
    stage.save_pretrained(str(tmp_path / "model"))
    first, loaded = fingerprints.of_model(str(tmp_path / "model")), fingerprints.of_stage(stage)
    assert first and first == fingerprints.of_model(str(tmp_path / "model"))
    next(iter(stage.decoder.parameters())).data[0] += 1
    stage.save_pretrained(str(tmp_path / "trained"))
    assert fingerprints.of_model(str(tmp_path / "trained")) != first
    assert fingerprints.of_stage(stage)["weights"] != loaded["weights"]
    assert fingerprints.of_model(str(tmp_path / "nowhere")) is None
    assert fingerprints.of_model(str(tmp_path / "model"), ["no-such-adapter"]) is None


def test_a_truth_is_its_beats_tempo_and_chords():
    grid, chord = BeatGrid.regular(120, 4, 4), Chord(0, 4, frozenset({0, 4, 7}))
    truths = [
        Truth(grid, 120.0, (chord,)),
        Truth(grid.shift(0.01), 120.0, (chord,)),
        Truth(grid, 60.0, (chord,)),
        Truth(grid, 120.0, (Chord(0, 4, frozenset({0, 3, 7})),)),
        Truth(BeatGrid(grid.times, np.roll(grid.numbers, 1)), 120.0, (chord,)),
    ]
    assert len({truth.to_bytes() for truth in truths}) == len(truths)
    assert Truth(BeatGrid.regular(120, 4, 4), 120.0, (chord,)).to_bytes() == truths[0].to_bytes()
