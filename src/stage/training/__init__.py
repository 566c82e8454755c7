"""Training of the codec and of the decoder: loops that fit on a page, each run by a recipe file."""
