"""`stage acceptance`: a model against what is asked of the shipped ones."""
