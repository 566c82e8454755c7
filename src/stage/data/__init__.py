"""Data sets as songs: stems by role, crops, beats, tags."""

from .open import open_songs
from .song import Problem, Song, Track

__all__ = ["Problem", "Song", "Track", "open_songs"]
