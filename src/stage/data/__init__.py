"""Data sets as songs: stems by role, crops, beats, tags."""

from stage.data.open import open_songs
from stage.data.song import Problem, Song, Track

__all__ = ["Problem", "Song", "Track", "open_songs"]
