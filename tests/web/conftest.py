import pytest

from helpers.servers import Running
from helpers.sessions import sparse_player


@pytest.fixture(scope="session")
def player(tmp_path_factory):
    """A folder of a small player."""
    path = tmp_path_factory.mktemp("models") / "sparse"
    sparse_player().save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def running(tmp_path_factory, player):
    """One server for the tests that leave it as it was."""
    with Running(tmp_path_factory.mktemp("server") / "data", player) as server:
        yield server
