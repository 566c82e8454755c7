"""Figures of one stem or of a set: beats, harmony, sound, distances."""
