"""Readers of the weights that users bring, one file for each format."""
