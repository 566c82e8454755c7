"""What the decoder learns from: contexts, targets and labels of the same moment."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stage.beats.grid import BeatGrid
from stage.config import DecoderConfig
from stage.errors import StageError
from stage.training.embedded.recipe import BatchOptions, TextOptions, TrackerErrors
from stage.training.embedded.token_examples import Examples
from stage.training.embedded.token_views import tracked

RATE, FRAMES = 25.0, 200
CONFIG = DecoderConfig(
    dim=32,
    layers=1,
    heads=1,
    codebooks=2,
    codebook_size=512,
    stems=("drums", "bass"),
    contexts=("grid", "mix"),
    restart=True,
    positions="rotary",
)
BATCH = BatchOptions(
    columns=300,
    seconds=(2,),
    whole_context=0.5,
    clean_grid=1.0,
    hide=0.5,
    layouts={"click": 1, "mix": 1, "both": 1, "none": 1},
    stems={"drums": 1, "bass": 1},
)
TEXT = TextOptions(dropout=0.0, word_dropout=0.0, tags=0.0, stem=1.0)


def view(number: int) -> dict:
    """A song whose codes give the time: code = frame (+ 200 for the mix), another tempo for each song."""
    time = torch.arange(FRAMES).repeat(2, 1).to(torch.uint16)
    beats = torch.stack([torch.arange(16) * 0.5 + 0.1 * number, torch.arange(16) % 4 + 1.0], 1)
    chords = torch.tensor([[i * 2.0, i * 2 + 2.0, i] + [float(p == i) for p in range(12)] for i in range(4)])
    mix = (time.int() + 200).to(torch.uint16)
    return {
        "stem.drums": time,
        "stem.bass": time,
        "mix.drums": mix,
        "mix.bass": mix,
        "click": time,
        "grid": time,
        "beats": beats,
        "chords": chords,
        "meta": {
            "captions": ["a song"],
            "stem_captions": {"drums": ["drums"], "bass": ["bass"]},
            "genre": "rock",
            "moods": ["calm"],
            "density": {"drums": 0.1 * number, "bass": 0.5},
        },
    }


@pytest.fixture(scope="module")
def examples() -> Examples:
    return Examples([view(i) for i in range(3)], CONFIG, BATCH, TEXT, RATE, seed=4)


def test_contexts_and_target_are_of_the_same_moment(examples):
    for number in range(20):
        batch = examples.batch(number, layout="both")
        sequence = batch.sequence
        assert bool(sequence.attend.all())
        for b in range(sequence.columns.shape[0]):
            first = int(batch.target[b, 0, 0])
            for segment, offset in ((2, 0), (1, 200), (0, 0)):
                for s in range(sequence.columns.shape[2]):
                    code, position = int(sequence.columns[b, 0, s]), int(sequence.positions[b, s])
                    if max(int(sequence.segments[b, s]) - 1, 0) == segment and code < 512:
                        assert code - offset == first + position - 1


def test_labels_are_those_of_the_predicted_frame(examples):
    batch = examples.batch(3, layout="both", stem="bass", rows=2)
    for b in range(2):
        start = int(batch.target[b, 0, 0]) / RATE
        song = min(range(3), key=lambda i: _phase_error(examples.views[i], start, batch, b))
        assert _phase_error(examples.views[song], start, batch, b) < 1e-3
        column = (batch.sequence.segments[b] == CONFIG.segment(1)).nonzero()[3, 0]
        moment = start + (int(batch.sequence.positions[b, column]) + 0.5) / RATE
        assert int(batch.chord[b, column, 0]) == int(moment // 2)


def _phase_error(song: dict, start: float, batch, b: int) -> float:
    s = int((batch.sequence.segments[b] == 1).nonzero()[5, 0])  # the bass
    moment = start + (int(batch.sequence.positions[b, s]) + 0.5) / RATE
    angle = 2 * np.pi * ((moment - float(song["beats"][0, 0])) % 0.5) / 0.5
    return float(abs(batch.phase[b, s, 0] - np.cos(angle)) + abs(batch.phase[b, s, 1] - np.sin(angle)))


def test_a_wrong_context_comes_from_another_example(examples):
    right, wrong = (examples.batch(5, layout="mix", wrong=w, rows=4) for w in (False, True))
    assert torch.equal(right.target, wrong.target)
    assert not torch.equal(right.sequence.columns, wrong.sequence.columns)


def test_part_of_some_targets_is_hidden_but_never_of_a_context(examples):
    hidden = 0
    for number in range(30):
        batch = examples.batch(number)
        sequence, before = batch.sequence, batch.sequence.first + 1
        assert (sequence.columns[:, 0, 1:before] != CONFIG.pad).all()  # the first column is always empty
        inside = sequence.columns[:, 0, before : before + sequence.frames]
        for row, wanted in zip(inside, batch.target[:, 0]):
            shown = row != CONFIG.pad
            assert torch.equal(row[shown], wanted[: len(row)][shown])
            hidden += not bool(shown.all())
    assert 0.2 < hidden / sum(len(examples.batch(n).target) for n in range(30)) < 0.8
    assert all(
        bool((examples.batch(n, layout="none").sequence.columns[:, 0, 2:] != CONFIG.pad).all()) for n in range(5)
    )


def test_the_density_is_given_where_there_is_a_prompt(examples):
    batch = examples.batch(2, layout="click", stem="drums", rows=4)
    assert all(any(abs(float(d) - v["meta"]["density"]["drums"]) < 1e-6 for v in examples.views) for d in batch.density)
    silent = Examples(examples.views, CONFIG, BATCH, replace(TEXT, dropout=1.0), RATE, seed=4)
    assert (silent.batch(2).density == -1).all()


def test_every_layout_cuts_the_same_examples(examples):
    """So that the loss with a context and without one are of the same music."""
    first = examples.batch(7, layout="none", rows=4, frames=50, stem="bass").target
    assert all(
        torch.equal(first, examples.batch(7, layout=layout, rows=4, frames=50, stem="bass").target)
        for layout in ("click", "mix", "both")
    )


def test_batches_can_be_drawn_again(examples):
    a, b = examples.batch(11), examples.batch(11)
    assert torch.equal(a.sequence.columns, b.sequence.columns) and a.prompts == b.prompts


def test_a_tracker_makes_small_and_large_errors():
    grid = BeatGrid.regular(120, 4, 10)
    options = TrackerErrors(half=0.0, double=0.0, rotate=0.0, jitter=0.01)
    found = tracked(grid, torch.Generator().manual_seed(0), options)
    assert abs(len(found) - len(grid)) <= 1 and 0.001 < np.abs(found.times[-10:] - grid.times[-10:]).mean() < 0.04
    half = tracked(grid, torch.Generator().manual_seed(0), replace(options, half=1.0))
    assert len(half) == len(grid) // 2
    double = tracked(grid, torch.Generator().manual_seed(0), replace(options, double=1.0))
    assert len(double) >= 2 * len(grid) - 2


def test_with_one_kind_of_context_clicks_stand_where_a_mix_stands(examples):
    config = replace(CONFIG, contexts=("mix",))
    layouts = {"click": 1, "mix": 1, "none": 0, "both": 0}
    one = Examples(examples.views, config, replace(BATCH, layouts=layouts), TEXT, RATE, seed=4)
    assert one.layouts == ["click", "mix"]
    for layout, offset in (("click", 0), ("mix", 200)):
        batch = one.batch(0, layout, rows=2, frames=50, crop=50)
        assert torch.equal(batch.sequence.columns[:, 0, :40] - offset, batch.target[:, 0, :40])
        assert bool((batch.phase.abs().sum(-1) > 0).all())
    with pytest.raises(StageError, match="both"):
        Examples(examples.views, config, BATCH, TEXT, RATE, seed=4)
