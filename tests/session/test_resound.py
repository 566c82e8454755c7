"""A take on another instrument, and tracks in another order."""

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.sessions import RATE
from stage import StageError
from stage.audio.level import loudness
from stage.cli.app import app
from stage.models.playable import INSTRUMENTS
from stage.session import Session


def another(session: Session, track: str) -> str:
    """An instrument that the track is not played on."""
    found = session.track(track)
    return next(name for name in INSTRUMENTS[found.stem] if name != session.book.takes[found.kept].instrument)


def test_the_same_notes_on_another_kit_without_the_model(session):
    alone = Session.open(session.folder, "no model of this name")
    before = alone.track("drums")
    kit = another(alone, "drums")
    name = alone.resound("drums", kit)
    after, take = alone.track("drums"), alone.book.takes[name]
    assert after.takes == (*before.takes, name) and after.kept == name and take.instrument == kit
    assert alone.notes("drums") == alone.notes("drums", before.kept) != ()
    old, new = alone.sound("drums", before.kept), alone.sound("drums")
    assert new.shape == old.shape and not np.allclose(old, new, atol=0.01)
    assert loudness(new, RATE) == pytest.approx(loudness(old, RATE), abs=1)
    assert alone.verify(again=False) == []
    (alone.folder / "takes" / f"{name}.flac").unlink()
    assert alone.verify(again=False, mend=True) == []  # it is made again, to the bit
    assert alone.undo() == f"drums on {kit}" and alone.track("drums") == before


def test_what_follows_is_played_on_it(session):
    bass = another(session, "bass")
    name = session.resound("bass", bass)
    redone = session.redo("bass", bars=2, candidates=1)
    assert session.book.takes[redone].recipe.parent == name and session.book.takes[redone].instrument == bass
    start = round(2.0 * RATE)  # of bar 2
    np.testing.assert_array_equal(session.sound("bass", name)[:, :start], session.sound("bass", redone)[:, :start])
    assert session.verify() == []


def test_what_cannot_be_sounded_is_refused(session):
    changes = session.book.changes
    kit = session.takes("drums")[session.track("drums").kept].instrument
    for track, instrument, why in [
        ("drums", kit, "already"),
        ("drums", "kazoo", "kazoo"),
        ("bass", "nowhere.sf2", "nowhere.sf2"),
        ("horns", "jazz", "no track"),
    ]:
        with pytest.raises(StageError, match=why):
            session.resound(track, instrument)
    session.change("bass", lock=True)
    with pytest.raises(StageError, match="locked"):
        session.resound("bass", "upright")
    assert session.book.changes == changes + 1


def test_tracks_are_put_in_another_order(session):
    session.move("bass", 1)
    assert [track.name for track in session.tracks] == ["bass", "drums"]
    assert session.undo() == "move bass"
    for track, to in (("bass", 2), ("bass", 3), ("bass", 0), ("horns", 1)):
        with pytest.raises(StageError):
            session.move(track, to)
    assert [track.name for track in session.tracks] == ["drums", "bass"]


def test_the_commands(session):
    def run(*words: str) -> str:
        found = CliRunner().invoke(app, ["session", *words, "-s", str(session.folder)])
        assert found.exit_code == 0, found.output
        return found.output

    kit = another(session, "drums")
    assert kit in run("sound", "drums", "--kit", kit)
    run("track", "bass", "--place", "1")
    assert [track.name for track in Session.open(session.folder).tracks] == ["bass", "drums"]
    for words in (["sound", "drums", "--instrument", "upright"], ["track", "bass", "--place", "2", "--gain", "1"]):
        assert CliRunner().invoke(app, ["session", *words, "-s", str(session.folder)]).exit_code != 0
