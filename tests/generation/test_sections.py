"""Sections that come again: where their places were played before, and windows that begin with those."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers.fakes import drawn_player, song
from stage import BeatGrid, StageError
from stage.generation import windows
from stage.generation.event_rules import EventRules
from stage.generation.request import Metronome, Recording, Request
from stage.generation.sections import Earlier, earlier
from stage.models.events import TimeLine, codecs


def bars_of(grid: BeatGrid, form, division: int = 4) -> list[list[int | None]]:
    """For each bar, the bars in which its frames were played before."""
    line = TimeLine.musical(grid, float(grid.times[-1]), division)
    places = earlier(line, grid, form, "drums").frames
    assert (places < torch.arange(line.frames)).all()
    starts = [round(float(line.place(np.array(at)))) for at in grid.downbeats]
    found = []
    for first, end in zip(starts, [*starts[1:], line.frames]):
        mine = places[first:end].tolist()
        known = [at for at in mine if at >= 0]
        assert known == list(range(known[0], known[-1] + 1)) if known else True
        found.append([None if at < 0 else int(np.searchsorted(starts, at, "right")) for at in (mine[0], mine[-1])])
    return found


def test_each_bar_of_a_section_was_played_in_the_first_of_its_name():
    grid = BeatGrid(np.arange(25) / 2, np.array([2, 3] + [1, 2, 3] * 7 + [1, 2]))  # two beats before the first bar
    found = bars_of(grid, (("Verse 1", 1), ("chorus", 3), ("verse 2", 5)))
    assert found[:7] == [[None, None]] * 4 + [[1, 1], [2, 2], [None, None]]  # the third bar has none in the first verse


def test_bars_of_other_lengths_share_their_beginnings():
    grid = BeatGrid(np.arange(14) / 2, np.array([1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3]))
    assert bars_of(grid, (("a", 1), ("b", 2), ("a", 3)))[2] == [1, None]


def test_without_a_form_phrases_of_eight_bars_come_again():
    found = bars_of(BeatGrid.regular(120, 4, 40.0), ())
    assert found[:8] == [[None, None]] * 8 and found[8:18] == [[1 + i % 8] * 2 for i in range(10)]
    line = TimeLine.musical(BeatGrid.regular(120, 4, 8), 8.0, 4)
    assert earlier(line, None, (("a", 1), ("a", 3)), "drums") is None


@pytest.fixture(scope="module")
def piece():
    """A part of six bars in windows of two, whose last two are those of the first section again."""
    player = drawn_player()
    player.events = dataclasses.replace(player.events, window_beats=8)
    request = Request("drums", Metronome(240, bars=6, rate=8000), seeds=(3, 4), form=(("a", 1), ("b", 3), ("a", 5)))
    request = player.complete(request)
    return player._played(player._plan(request, player.prepare(request)), request, None)


def test_the_past_of_a_section_that_comes_again_begins_with_its_first(piece, monkeypatch):
    calls, run = [], windows.steps
    monkeypatch.setattr(windows, "steps", lambda *args, **given: calls.append(given) or run(*args, **given))
    codes, half = windows.play(**piece), piece["size"] // 4  # of a bar
    calls = [call for call in calls if call["prompt"] is not None]
    assert len(calls) == 8 and all(call["frames"] == 4 * half for call in calls)
    for at, recalled in ((6, None), (8, 0), (10, 2)):  # halves with which the new ones of the later windows begin
        past = list(range(at - 2, at)) if recalled is None else [recalled, at - 1]
        frames = torch.cat([torch.arange(half * one, half * (one + 1)) for one in [*past, at, at + 1]])
        for v, call in enumerate(calls[at - 4 : at - 2]):
            assert torch.equal(call["prompt"], codes[v][:, frames[: 2 * half]])
            assert torch.equal(call["features"], piece["features"][frames])
            assert torch.equal(call["rules"].lift, piece["rules"].lift[frames])
            echo = call["rules"].echo[2 * half :]
            assert (echo == (-1 if recalled is None else codes[v].T[half * recalled :][: 2 * half])).all()
    plain = windows.play(**piece | {"earlier": None, "seeds": [3]})
    assert torch.equal(plain[0, :, : 8 * half], codes[0, :, : 8 * half])
    assert not torch.equal(plain[0, :, 8 * half :], codes[0, :, 8 * half :])
    # a seed alone and a stream are the same music
    parts = list(windows.stream(**piece | {"seeds": [4]}, pieces=iter([7] * 99)))
    assert len(parts) > 15 and torch.equal(torch.cat(parts, -1)[0], codes[1])


def test_what_was_played_before_is_likelier_but_in_a_fill():
    known = Earlier(torch.tensor([-1, -1, -1, 0, 1, 2]), 1.5)
    codes = torch.arange(34).reshape(17, 2)
    rules = EventRules.of(codecs()["drums"])
    echoing = known.echo(rules, torch.arange(6), codes)
    assert (
        torch.equal(echoing.echo[3:5], codes.T) and (echoing.echo[[0, 1, 2, 5]] == -1).all()
    )  # the last is not made yet
    filled = dataclasses.replace(rules, least=torch.zeros(6, 17).index_fill(0, torch.tensor([3]), 0.5))
    assert known.echo(filled, torch.arange(6), codes).echo[:, 0].tolist() == [-1, -1, -1, -1, 1, -1]
    chances = torch.zeros(2, *rules.allowed.shape)
    want = chances.clone()
    want[:, range(1, 17, 2), codes[1::2, 0]] = 1.5
    assert torch.equal(echoing.moved(chances.clone(), 3), want)
    assert torch.equal(echoing.moved(chances.clone(), 0), chances)
    grid = BeatGrid.regular(120, 1, 3.0)
    line, form = TimeLine.musical(grid, 3.0, 1), (("a", 1), ("a", 4))
    assert torch.equal(earlier(line, grid, form, "drums").frames, known.frames)
    assert earlier(line, grid, form, "drums").pull > 0 == earlier(line, grid, (), "drums").pull
    bass = earlier(line, grid, form, "bass")  # likelier too, but not in its past
    assert torch.equal(bass.frames, known.frames) and bass.pull > 0
    assert known.recalled(3, 6, 6, 2).tolist() == [0, 1] and not len(bass.recalled(3, 6, 6, 2))
    assert earlier(line, grid, (), "bass") is None


def test_a_recording_without_a_form_has_none():
    player, grid = drawn_player(), BeatGrid.regular(240, 4, 12.0)
    source = Recording(song(12.0, 8000, 1), 8000)
    for form, known in (((), False), ((("a", 1), ("a", 9)), True)):
        request = player.complete(Request("drums", source, grid=grid, tuning=0.0, chords="A", form=form))
        plan = player._plan(request, player.prepare(request))
        assert (plan.piece()["earlier"] is not None) == known


def test_a_form_rises():
    for form in ((("a", 0),), (("a", 5), ("b", 5)), (("a", 5), ("b", 1))):
        with pytest.raises(StageError, match="bars that rise"):
            Request("drums", Metronome(120, bars=8), form=form)
