"""`stage acceptance` for models of played events: parts against true parts, controls and two baselines."""
