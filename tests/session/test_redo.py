"""Regions that are played anew: outside every note and sample stays; what follows has a say in what is chosen."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch

from helpers.fakes import drawn_stage, song
from helpers.sessions import RATE
from stage import BeatGrid, StageError, audio
from stage.generation import decoding
from stage.generation.decoding import generate
from stage.generation.refill import OVER, RELEASE, Filler
from stage.generation.request import Metronome, Request
from stage.notes import Note
from stage.prefix import row
from stage.session import Session
from stage.session.redo import splice
from stage.session.time import regions


def outside(sound: np.ndarray, parts) -> np.ndarray:
    keep = np.ones(sound.shape[1], bool)
    for start, end in parts:
        keep[round(start * RATE) : round(end * RATE)] = False
    return sound[:, keep]


@pytest.mark.parametrize("track", ["drums", "bass"])
def test_outside_of_a_region_every_note_and_sample_stays(session, track):
    before, notes = session.sound(track), session.notes(track)
    session.redo(track, bars=2, candidates=2)
    after, now = session.sound(track), session.notes(track)
    assert np.array_equal(outside(before, [(2, 4)]), outside(after, [(2, 4)])) and not np.array_equal(before, after)
    assert [n for n in notes if not 2 <= n.start < 4] == [n for n in now if not 2 <= n.start < 4]
    inside = [n for n in now if 2 <= n.start < 4]
    assert inside != [n for n in notes if 2 <= n.start < 4]
    if track == "bass":  # those that ring over the end were there before, whole
        assert all(n in notes for n in inside if n.end > 4 - RELEASE)
    take = session.book.takes[session.track(track).kept]
    assert take.recipe.parent == session.track(track).takes[0] and take.recipe.regions == ((2.0, 4.0),)
    assert session.verify() == []
    session.undo()
    assert np.array_equal(session.sound(track), before)


def test_several_regions_and_again_within_one(session):
    first = session.sound("drums")
    session.redo("drums", bars=[1, (3, 3)], candidates=1)
    second = session.sound("drums")
    assert np.array_equal(first[:, 2 * RATE : 4 * RATE], second[:, 2 * RATE : 4 * RATE])
    assert not np.array_equal(first[:, : 2 * RATE], second[:, : 2 * RATE])
    session.redo("drums", seconds=(0.7, 1.31), candidates=1, seed=77)
    third = session.sound("drums")
    assert np.array_equal(outside(second, [(0.7, 1.31)]), outside(third, [(0.7, 1.31)]))
    assert [track.name for track in session.tracks] == ["drums", "bass"] and len(session.takes("drums")) == 4
    assert session.verify() == []


def test_a_take_like_the_kept_one_and_another(session):
    notes = session.notes("bass")
    (like,) = session.like("bass", bars=1)
    alike = session.notes("bass", like)
    assert [n for n in alike if n.start < 2] == [n for n in notes if n.start < 2] and alike != notes
    assert session.book.takes[like].recipe.sampling["temperature"] == pytest.approx(0.9 * 0.85)
    (other,) = session.other("bass", tries=2)
    assert session.notes("bass", other) not in (notes, alike)
    assert session.track("bass").kept == session.track("bass").takes[0]


def test_a_take_like_the_kept_one_is_cooler_than_its_stem_is_played(session, monkeypatch):
    own = dataclasses.replace(session.stage.events, sampling={"drums": {"temperature": 0.5}})
    monkeypatch.setattr(session.stage, "events", own)
    (like,) = session.like("drums", bars=1)
    assert session.book.takes[like].recipe.sampling["temperature"] == pytest.approx(0.5 * 0.85)


def test_regions_are_places_in_the_song(session):
    time = session.time
    assert regions(time, (2, 3), None, 6.0) == ((2.0, 6.0),)
    assert regions(time, [(1, 1), 2], [(4.5, 5.0)], 6.0) == ((0.0, 4.0), (4.5, 5.0))
    assert regions(time, None, (5.0, 99.0), 6.0) == ((5.0, 6.0),)  # beyond the end, up to the end
    for bars, seconds, match in (
        (9, None, "bar 9 is not there"),
        (None, (7.0, 8.0), "not within the music"),
        (None, (2.0, 1.0), "not within"),
        (None, None, "which bars"),
        ("2", None, "is no region"),
    ):
        with pytest.raises(StageError, match=match):
            session.redo("drums", bars=bars, seconds=seconds)
    session.change("drums", lock=True)
    with pytest.raises(StageError, match="locked"):
        session.redo("drums", bars=1)


# ---------------------------------------------------------------- the model's part


@pytest.fixture(scope="module")
def filler(player):
    request = player.complete(Request("bass", Metronome(120, bars=4, rate=RATE), seeds=(1,)))
    plan = player._plan(request, player.prepare(request))
    return Filler(player.decoder, 1, plan, None, player.sampling(guidance=1.0), 96)


def test_notes_that_stay(filler):
    region = 2.0, 4.0
    assert filler.frames(region) == (48, 96) and filler.frames((2.01, 3.99)) == (48, 96)
    assert filler.stays(Note(1.99, 3.0, 40, 90), region) and filler.stays(Note(4.0, 4.5, 40, 90), region)
    assert filler.stays(Note(3.985, 4.5, 40, 90), region)  # anticipates the next bar
    assert filler.stays(Note(3.0, 4.0 + OVER + 0.01, 40, 90), region)  # rings on
    assert not filler.stays(Note(3.0, 4.0 + OVER / 2, 40, 90), region) and not filler.stays(
        Note(2.0, 2.5, 40, 90), region
    )


def test_a_note_that_rings_into_a_region_is_neither_cut_nor_doubled(filler):
    held, after = Note(1.0, 3.2, 40, 90), Note(4.5, 5.0, 43, 90)
    made = filler.refill([held, Note(2.2, 2.4, 50, 90), after], "finger", [(2.0, 4.0)], 8.0, seed=3, candidates=1)
    assert held in made and after in made and Note(2.2, 2.4, 50, 90) not in made
    assert not [n for n in made if n.pitch == 40 and n is not held and n.start < held.end and n.end > held.start]
    assert all(n.end <= 4.0 - RELEASE + 1e-9 for n in made if 2.0 <= n.start < 4.0)


def test_a_window_that_is_small_still_holds_region_and_what_follows(filler):
    small = dataclasses.replace(filler, size=48)
    held = Note(0.5, 0.9, 40, 90)
    made = small.refill([held, Note(2.2, 2.4, 50, 90)], "finger", [(2.0, 5.0)], 8.0, seed=3, candidates=2)
    assert held in made and all(2.0 <= n.start < 5.0 for n in made if n is not held)


def test_given_cells_stay_and_the_rest_is_made(filler, player):
    plan = filler.plan
    codes = plan.events.encode([Note(1.0, 1.5, 40, 90)], plan.line, "finger")[:, :96]
    given = torch.full_like(codes, -1)
    given[:, :24], given[1:3] = codes[:, :24], 0  # nothing happens in the first voice
    rest = dict(stem=1, contexts=[None], features=plan.known[:96], rules=plan.rules.cut(torch.arange(96)), frames=96)
    made = generate(player.decoder, **rest, prompt=codes[:, :24], seeds=(1, 2))
    *_, last = decoding.steps(player.decoder, **rest, prompt=codes[:, :24], seeds=(1, 2), given=given)
    filled = decoding.made(last, 0, 96)
    assert torch.equal(filled[0, :, :24], codes[:, :24]) and (filled[:, 1:3, 24:] == 0).all()
    assert (made[:, 1:3, 24:] != 0).any()


def test_candidates_are_ranked_by_what_follows(filler, player):
    """The likelihood is that which the model gives the codes behind the region, after each candidate."""
    plan = filler.plan
    notes = [Note(0.5 * i, 0.5 * i + 0.3, 40 + i % 5, 90) for i in range(12)]
    codes = plan.events.encode(notes, plan.line, "finger")
    fixed = codes.clone()
    fixed[1:, 24:48] = -1
    found, likely = filler._candidates(codes, fixed, 24, 48, 24, [1, 2, 3], lambda share: True)
    assert found.shape == (3, 17, 24) and not torch.equal(found[0], found[1])
    steps = []
    alone, _ = filler._candidates(codes, fixed, 24, 48, 24, [2], steps.append)
    assert torch.equal(alone[0], found[1]) and len(steps) < 48  # what follows is not computed where there is no choice
    config = player.decoder.config
    for candidate, nats in zip(found, likely):
        whole = torch.cat([codes[:, :24], candidate, codes[:, 48:72]], 1)
        sequence = row(config, [None], 1, whole)
        with torch.inference_mode():
            hidden = player.decoder(sequence, features=plan.known[None, :72].to(player.decoder.embed.dtype))
            chances = player.decoder.logits(hidden)[0].log_softmax(-1)
        total = sum(
            float(chances[k, sequence.first + frame + delay, whole[k, frame]])
            for k, delay in enumerate(config.pattern)
            for frame in range(48, 72)
        )
        assert float(nats) == pytest.approx(total, rel=1e-4)


# ---------------------------------------------------------------- sound


def test_a_splice_leaves_what_is_outside_and_has_no_step():
    time = np.arange(4 * RATE) / RATE
    old = 0.3 * np.sin(2 * np.pi * 110 * time)[None].astype(np.float32)
    new = old + 0.2 * np.sin(2 * np.pi * 331 * time)[None].astype(np.float32)
    both = splice(old, new, [(1.0, 2.0)], RATE)
    assert np.array_equal(both[:, :RATE], old[:, :RATE]) and np.array_equal(both[:, 2 * RATE :], old[:, 2 * RATE :])
    middle = slice(RATE + RATE // 10, 2 * RATE - RATE // 10)
    assert np.abs(both[:, middle] - new[:, middle]).max() <= 2**-23
    assert np.abs(np.diff(both)).max() <= np.abs(np.diff(new)).max() * 1.05
    same = old.copy()
    same[:, RATE + 5 :] = new[:, RATE + 5 :]  # the same up to the region: what begins there is not softened
    assert np.abs(splice(old, same, [(1.0, 4.0)], RATE) - same).max() <= 2**-23


def test_a_model_of_sound_goes_on_from_what_stands_before(tmp_path):
    audio.write(tmp_path / "song.wav", song(4.0, RATE, 2), RATE)
    model = drawn_stage()
    session = Session.new(
        tmp_path / "s", tmp_path / "song.wav", grid=BeatGrid.regular(120, 4, 4.0), chords="A", tuning="off", model=model
    )
    session.add("drums")
    before = session.sound("drums")
    session.redo("drums", bars=2)
    after = session.sound("drums")
    assert np.array_equal(before[:, : 2 * RATE], after[:, : 2 * RATE]) and not np.array_equal(before, after)
    assert session.notes("drums") == () and session.verify() == []
    with pytest.raises(StageError, match="made as sound cannot be compared"):
        session.other("drums")


def test_the_command_makes_as_many_candidates_as_python_does():
    from stage.cli.session.takes import redo
    from stage.generation.request import CANDIDATES

    assert inspect.signature(redo).parameters["candidates"].default == CANDIDATES
