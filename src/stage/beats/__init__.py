"""Beats: grids, metronomes, and the tracker with its networks."""
