"""Arranging: a song, its tracks, their takes, and every step undone or done again (`Session`); hand-off to DAWs."""

from stage.session.session import Session

__all__ = ["Session"]
