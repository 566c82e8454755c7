"""Composes and renders multitrack songs that are free to use, with exact beats, chords and words."""

from stage.corpus.build import build
from stage.corpus.read import CorpusSong, songs

__all__ = ["CorpusSong", "build", "songs"]
