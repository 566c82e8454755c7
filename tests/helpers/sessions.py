"""A small player whose parts have few notes, for the tests of sessions."""

from __future__ import annotations

import dataclasses

from helpers.fakes import drawn_player
from stage.pipeline import Stage

RATE = 22050


def sparse_player() -> Stage:
    """`drawn_player`, which begins something less often: some notes a second."""
    player = drawn_player()
    player.events = dataclasses.replace(
        player.events, lift={"drums": -5.0, "bass": -5.0, "keys": -8.0, "guitar": -8.0, "pads": -8.0}
    )
    return player
