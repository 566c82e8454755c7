"""The command line: one file for each group of commands. No other room imports this one."""

from __future__ import annotations


def main() -> None:
    """Entry point of the command `stage`."""
    from stage.cli.app import main

    main()
