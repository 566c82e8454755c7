"""Played notes, as instruments sound them and MIDI files hold them."""

from __future__ import annotations

from typing import NamedTuple


class Note(NamedTuple):
    """A played note: seconds from the beginning of the piece, MIDI pitch (drums: key of the GM map), velocity 1..127.

    Drums ring on after their end unless the kit says otherwise.
    """

    start: float
    end: float
    pitch: int
    velocity: int
