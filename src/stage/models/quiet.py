"""``transformers`` without its own progress bars and remarks: ours tell what is going on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of ``transformers`` within, and nothing below an error."""
    from transformers.utils import logging

    were_on, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if were_on:
            logging.enable_progress_bar()
