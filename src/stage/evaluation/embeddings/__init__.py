"""Embeddings of audio, for distances between sets."""
