"""The player in the package: it is there, it follows its context, its parts can be heard and edited."""

import json
from pathlib import Path

import numpy as np
import pytest

import stage
from stage import BeatGrid, Stage
from stage.chords import parse
from stage.evaluation.acceptance.score import Analysis, score
from stage.evaluation.truth import Truth

FOLDER = Path(stage.__file__).parent / "weights" / "player"


@pytest.fixture(scope="module")
def player():
    return Stage.from_pretrained(device="cpu")


def test_it_is_the_default_and_its_card_and_licence_are_there(player):
    assert player.config.name == "player" and player.events is not None and player.chord_head is not None
    assert "Apache-2.0" in json.loads((FOLDER / "config.json").read_text())["stage"]["licence"]
    assert len((FOLDER / "README.md").read_text(encoding="utf-8")) > 1000


def test_drums_keep_the_tempo_of_a_metronome(player):
    """Beat F of two seeds at each tempo, by a tracker that was not trained on the corpus, against the other tempo's
    beats."""
    tempi = (96.0, 143.0)
    right, wrong = [], []
    for tempo, other in (tempi, tempi[::-1]):
        made = player.click(tempo, "drums", bars=4, seed=1, variations=2)
        seconds = made.stems.shape[-1] / made.rate
        for stem in made.stems:
            found = Analysis.of(stem.mean(0), made.rate, pitched=False)
            right.append(score(found, Truth(made.grid, tempo))["beat_f"])
            wrong.append(score(found, Truth(BeatGrid.regular(other, 4, seconds), other))["beat_f"])
    assert np.mean(right) >= 0.8 and np.mean(right) > np.mean(wrong) + 0.3, (right, wrong)


@pytest.mark.parametrize("stem", ["bass", "keys"])
def test_parts_are_in_the_chords_that_are_given(player, stem):
    """Share of the notes that begin in a chord and belong to it, against the chords of another song."""
    right, wrong = [], []
    for own, other in (("Am F C G", "Bbm Gb Db Ab"), ("Bbm Gb Db Ab", "Am F C G")):
        made = player.click(110, stem, bars=4, seed=3, chords=own)
        for chart, found in ((own.split(), right), (other.split(), wrong)):
            for note in made.notes[0]:
                chord = parse(chart[min(int((note.start + 0.05) / (240 / 110)), 3)])
                found.append(note.pitch % 12 in chord.classes)
    assert len(right) > 8 and np.mean(right) >= 0.8 and np.mean(right) > np.mean(wrong) + 0.3


def test_a_bass_sounds_most_of_the_time_one_note_at_once(player):
    made = player.click(100, "bass", bars=4, seed=5, chords="Em C G D")
    notes = made.notes[0]
    assert all(first.end <= second.start + 0.02 for first, second in zip(notes, notes[1:]))
    assert sum(note.end - note.start for note in notes) > 0.4 * made.stems.shape[-1] / made.rate
