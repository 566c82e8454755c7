"""The chord network: the same in every key, and fed with the whole recording."""

import numpy as np
import torch

from helpers.bands import RATE, band
from stage.audio.files import resample
from stage.beats.beatnet import packaged
from stage.beats.grid import BeatGrid
from stage.chords import read, salience
from stage.chords.network import KINDS, STATES, WEIGHTS, ChordNetwork, features, network

GRID = BeatGrid.regular(100, 4, 9.6)


def heard(shift: int = 0, rows: slice = slice(None)) -> list[torch.Tensor]:
    """Features of eight chords, higher by `shift` semitones."""
    chart = read("| Am | F | C G | Em7 |", GRID, 9.6).transpose(shift)
    mono = resample(band(chart, 9.6)[0], RATE, salience.RATE)
    found = features(salience.beats(mono, 0.0, np.append(GRID.times, 9.6)))
    return [torch.from_numpy(x)[None, rows] for x in found.values()]


def turned(logits: torch.Tensor, shift: int) -> torch.Tensor:
    kinds = logits[..., :-1].unflatten(-1, (len(KINDS), 12)).roll(shift, -1)
    return torch.cat([kinds.flatten(-2), logits[..., -1:]], dim=-1)


def test_all_pitch_classes_are_treated_alike():
    torch.manual_seed(0)
    made = ChordNetwork(8).eval()
    torch.nn.init.normal_(made.classify.weight)
    notes, levels, fits = heard()
    notes[..., :12], notes[..., 48:64], notes[..., -12:] = 0, 0, 0  # nothing near the ends of the registers
    higher = notes.roll(12, -1)  # an octave is another input, but the same pitch classes
    assert made(notes, levels, fits).shape == (1, 16, len(STATES))
    assert not torch.allclose(made(higher, levels, fits), made(notes, levels, fits), atol=1e-3)
    flat = torch.zeros_like(notes)
    assert torch.allclose(made(flat, levels, turned(fits, 5)), turned(made(flat, levels, fits), 5), atol=1e-4)


def test_it_finds_the_chords_in_another_key():
    with torch.inference_mode():
        here, there = (network()(*heard(shift)).argmax(-1)[0] for shift in (0, 3))
    assert [STATES[i].name for i in here[:8]] == ["Am"] * 4 + ["F"] * 4
    assert [STATES[i].transpose(3) for i in here] == [STATES[i] for i in there]


def test_a_beat_depends_on_all_others():
    given, made = heard(), ChordNetwork().eval()
    made.load_state_dict(packaged(WEIGHTS))
    given[0].requires_grad_()
    made(*given)[0, 2].square().sum().backward()
    assert (given[0].grad[0].abs().sum((1, 2)) > 0).all()
