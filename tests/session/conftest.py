"""A session on a tempo that the tests of this folder copy."""

import shutil

import pytest

from helpers.sessions import RATE, sparse_player
from stage.session import Session


@pytest.fixture(scope="session")
def player():
    return sparse_player()


@pytest.fixture(scope="session")
def made(player, tmp_path_factory):
    """Three bars of two seconds: drums with two takes, and a bass."""
    folder = tmp_path_factory.mktemp("made") / "trio"
    session = Session.new(folder, bpm=120, bars=3, chords="Am F", rate=RATE, model=player, form="intro 1, verse 2")
    session.add("drums", takes=2, seed=5)
    session.add("bass", performance={"complexity": 0.7, "register": "low"}, sampling={"temperature": 0.9})
    return folder


@pytest.fixture
def session(made, player, tmp_path):
    shutil.copytree(made, tmp_path / "trio")
    return Session.open(tmp_path / "trio", player)
