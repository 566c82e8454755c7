"""Chords: symbols, charts on a recording's time line, the files that hold them, and their estimation."""

from stage.chords.chart import Chart, Span
from stage.chords.reading import read
from stage.chords.symbols import Chord, parse

__all__ = ["Chart", "Chord", "Span", "parse", "read"]
