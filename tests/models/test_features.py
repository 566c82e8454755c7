import numpy as np
import torch

from stage.beats.grid import BeatGrid
from stage.models.events import TimeLine
from stage.models.features import (
    BARS,
    BEAT,
    BUSIEST,
    CHORD,
    DIVISION,
    SIZE,
    beat_alone,
    beat_features,
    chord_features,
    control_features,
    features,
    measured,
)
from stage.notes import Note

GRID = BeatGrid(np.array([0.0, 0.5, 1.1, 1.6, 2.0]), np.array([3, 1, 2, 3, 1]))
LINE = TimeLine.musical(GRID, 2.0, 12)
CHORDS = [(0.0, 1.1, 9, [9, 0, 4]), (1.1, 1.6, -1, [])]


def test_the_place_in_beat_and_bar_is_known_in_every_frame():
    made = beat_features(LINE)
    assert made.shape == (48, BEAT) and (made[:, :DIVISION].argmax(1) == np.arange(48) % 12).all()
    numbers = made[:, DIVISION : DIVISION + BARS].argmax(1) + 1
    assert numbers[::12].tolist() == [3, 1, 2, 3]
    assert (made[:, DIVISION + BARS + 3] == 1).all()  # three beats a bar
    assert np.allclose(made[:12, -2], 0) and np.allclose(made[12:24, -2], np.log2(0.5 / 0.6), atol=1e-6)
    assert not beat_features(LINE, bars=False)[:, DIVISION : DIVISION + BARS + BARS + 1].any()


def test_frames_of_equal_length_take_their_place_from_the_grid():
    line = TimeLine.regular(2.0, 25.0)
    assert not beat_features(line).any()
    made = beat_features(line, grid=GRID)
    middle = beat_features(LINE)[(LINE.place(line.times[:-1]) + 1e-6).astype(int)]
    assert np.array_equal(made[:, : DIVISION + BARS], middle[:, : DIVISION + BARS])
    assert np.allclose(made[:, -3:], middle[:, -3:], atol=1e-5)


def test_finer_divisions_share_the_twelfths():
    made = beat_features(TimeLine.musical(GRID, 2.0, 24))
    assert made[:24, :DIVISION].argmax(1).tolist() == [i // 2 for i in range(24)]


def test_no_chord_and_an_unknown_chord_differ():
    made = chord_features(LINE, CHORDS)
    assert made.shape == (48, CHORD) and (made[:, 0] == 1).all()
    assert made[0, 1:13].argmax() == 9 and made[0, 13:].nonzero()[0].tolist() == [0, 4, 9]
    assert not made[24:36, 1:].any()  # no chord
    assert not chord_features(LINE, None).any()


def test_controls_are_numbers_or_lines():
    border = np.linspace(0, 1, 48)
    made = control_features(LINE, {"density": 0.25, "border": border})
    assert made[0].tolist() == [1, 0.25, 0, 0, 1, 0] and np.allclose(made[:, 5], border)


def test_the_branch_without_conditions_keeps_the_beat():
    made = features(LINE, CHORDS, {"dynamics": 0.5})
    bare = beat_alone(made)
    assert made.shape == (48, SIZE) and made.dtype == torch.float32
    assert torch.equal(bare, features(LINE)) and not torch.equal(bare, made)


def test_density_and_dynamics_are_measured_in_each_bar():
    notes = [Note(t, t, 42, 80) for t in (0.5, 0.5, 1.1, 1.6)]  # none in the pickup, three onsets in the bar of three
    made = measured(notes, LINE)
    wanted = np.log1p((3 + 0.25) / 3) / np.log1p(BUSIEST)
    assert not made["density"][:12].any() and np.allclose(made["density"][12:], wanted)
    assert np.allclose(made["dynamics"], 80 / 127)
    whole = measured(notes, LINE, by_bar=False)["density"]
    assert np.allclose(whole, np.log1p(3.25 / 4) / np.log1p(BUSIEST))


def test_more_notes_are_denser_and_none_are_of_density_zero():
    steps = [
        measured([Note(t, t, 42, 64) for t in np.arange(n) * 2 / n], LINE, False)["density"][0] for n in range(1, 48)
    ]
    assert (np.diff(steps) > -1e-6).all() and steps[-1] <= 1
    assert not measured([], LINE)["density"].any()
    assert measured([], TimeLine.regular(4.0, 25.0))["dynamics"].shape == (100,)
