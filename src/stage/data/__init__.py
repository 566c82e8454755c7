"""Data sets as songs: stems by role, crops, beats, tags."""
