"""The one kind of exception that is meant for the user."""


class StageError(ValueError):
    """Something the user can mend. The message is one line: what is wrong, and what to do.

    The command line prints it without a traceback and exits with code 2. It is a ValueError for Python programs, so
    code that catches ValueError around something that raises it must let it pass first.
    """


class MissingFile(StageError, FileNotFoundError):
    """A file that the user names does not exist."""


class MissingExtra(StageError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str):
        super().__init__(f"{what} needs an optional dependency: pip install 'stage-music[{extra}]'")


class Interrupted(Exception):
    """A job was stopped by the user, kept what it had, and said so."""


class ReaderGone(Exception):
    """The program that reads our standard output has ended: not an error."""
