"""Text files that users bring, in whatever encoding their editors write."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from stage.errors import MissingFile, StageError

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks, with which Windows begins text files, and the encodings that they stand for."""

CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
"""Characters that no text file has."""


def read(path: Path, what: str, kind: str, expected: str, largest: int) -> str:
    """The text of a file, with or without a byte order mark; what is not UTF-8 is taken for Latin-1.

    For the messages: what ("the beat grid"), of which kind ("a file of beats"), and what is expected in it. Raises
    StageError for what cannot be read, is larger than `largest` bytes, or is not text.
    """
    try:
        if path.stat().st_size > largest:
            size = f"{largest >> 20} MB" if largest >> 20 else f"{largest >> 10} kB"
            raise StageError(f"{path} is not {kind}: it is larger than {size}")
        data = path.read_bytes()
    except StageError:
        raise
    except FileNotFoundError:
        raise MissingFile(f"cannot read {what} {path}: it does not exist") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StageError(f"cannot read {what} {path}: {why}") from None
    mark = next((mark for mark in MARKS if data.startswith(mark)), b"")
    try:
        text = data[len(mark) :].decode(MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError:  # an older system's encoding; numbers and plain letters are the same in all
        text = data.decode("latin-1")
    if CONTROL.search(text):
        raise StageError(f"{path} is not {kind}: expected text, {expected}")
    return text
