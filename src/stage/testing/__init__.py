"""Weights that are drawn, not trained, and vectors to compare with: for tests and benchmarks."""
