"""Readers of the weights that users bring, one file for each format (`detect` chooses)."""

T5 = "google-t5/t5-base"
"""Name on the hub of the text encoder of MusicGen, where a checkpoint leaves it or its tokenizer out."""
