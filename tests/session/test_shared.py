"""A session that others change while takes are made."""

import shutil

import numpy as np
import pytest

from stage import StageError
from stage.session import Session, sounds
from stage.session.shared import SharedSession, merged
from stage.session.state import Track


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "trio")
    return tmp_path / "trio"


def meanwhile(folder, player, step, **options):
    """A session that calls `step` with another one in the middle of its first take."""
    waiting = [step]

    def on_sound(chunk):
        if waiting:
            with (other := SharedSession(folder)).held():
                waiting.pop()(other)

    return SharedSession(folder, player, on_sound=on_sound, **options)


def test_a_take_does_not_keep_a_mixer_waiting_and_nothing_of_either_is_lost(folder, player):
    session = meanwhile(folder, player, lambda other: other.change("drums", gain=-6.0, name="kit"))
    name = session.take("drums", 1)[0]
    found = Session.open(folder)
    assert [track.name for track in found.tracks] == ["kit", "bass"]
    kit = found.track("kit")
    assert kit.gain == -6.0 and kit.takes[-1] == name and len(kit.takes) == 3
    assert found.verify(again=False) == []
    found.undo()
    assert found.track("kit").gain == -6.0 and len(found.track("kit").takes) == 2


def test_a_track_that_was_removed_or_locked_meanwhile_gets_no_takes(folder, player):
    before = sorted((folder / "takes").iterdir())
    with pytest.raises(StageError, match="removed meanwhile"):
        meanwhile(folder, player, lambda other: other.remove("drums")).take("drums", 1)
    assert sorted((folder / "takes").iterdir()) == before
    Session.open(folder).undo()
    with pytest.raises(StageError, match="locked meanwhile"):
        meanwhile(folder, player, lambda other: other.change("drums", lock=True)).take("drums", 1)


def test_what_a_take_was_played_to_may_go_if_nothing_needs_it_any_more(folder, player):
    def replace_drums(other):
        for _ in range(2):  # the bass, then the drums; a step after that makes them unreachable
            other.undo()
        other.mend(shift=1)

    with pytest.raises(StageError, match="undone meanwhile"):
        meanwhile(folder, player, replace_drums).add("keys")
    found = Session.open(folder)
    assert found.tracks == () and found.verify(again=False) == []


def test_a_name_that_was_taken_meanwhile_is_not_taken_twice(folder, player):
    session = meanwhile(folder, player, lambda other: other.change("drums", name="keys"))
    session.add("keys")
    assert [track.name for track in Session.open(folder).tracks] == ["keys", "bass", "keys-2"]


def test_takes_one_after_another_are_one_step(folder, player):
    session = SharedSession(folder, player, grouped=True)
    steps = len(session.book.history)
    session.add("keys", seed=3)
    session.take("keys", 1, 4)
    session.take("keys", 1, 5)
    found = Session.open(folder, player)
    assert len(found.book.history) == steps + 1 and found.book.step.what == "add keys"
    assert [take.recipe.seed for take in found.takes("keys").values()] == [3, 4, 5]
    assert found.undo() == "add keys" and [track.name for track in found.tracks] == ["drums", "bass"]
    found.redo_step()
    assert len(found.track("keys").takes) == 3 and found.verify(again=False) == []


def test_a_take_that_was_listened_to_while_it_was_made_is_the_same_to_the_bit(folder, player):
    chunks = []
    session = SharedSession(folder, player, on_sound=chunks.append)
    session.add("keys", seed=3)
    listened = session.sound("keys")
    session.undo()
    session.on_sound = None
    session.add("keys", seed=3)
    assert np.array_equal(session.sound("keys"), listened) and np.abs(listened).max() > 0
    streamed = np.concatenate(chunks, -1)
    assert streamed.shape == listened.shape
    level = np.sqrt((listened**2).mean() / (streamed**2).mean())
    assert np.abs(sounds.rounded(level * streamed) - listened).max() < 0.05  # the limiter works on peaks alone


def test_quick_steps_are_held_from_their_first_word_on(folder):
    one, other = SharedSession(folder), SharedSession(folder)
    with one.held():
        one.change("drums", gain=-1.0)
    with other.held():
        other.change("bass", gain=-2.0)
    assert [track.gain for track in Session.open(folder).tracks] == [-1.0, -2.0]


def test_tracks_of_two_are_brought_together():
    drums, bass = Track("drums", "drums", ("d-1",), "d-1"), Track("bass", "bass", ("b-1",), "b-1")
    more = Track("drums", "drums", ("d-1", "d-2"), "d-2")
    quiet = Track("kit", "drums", ("d-1", "d-3"), "d-3", gain=-3.0)
    assert merged([drums], [more], [quiet, bass]) == [
        Track("kit", "drums", ("d-1", "d-3", "d-2"), "d-2", gain=-3.0),
        bass,
    ]
    assert merged([drums], [drums, bass], [drums]) == [drums, bass]
