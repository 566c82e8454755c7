"""An open file for libsndfile, which calls it back: from there no exception reaches the caller."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class Guarded(io.RawIOBase):
    """An open binary file whose methods never raise. What fails reads as nothing, or counts as written; the first error
    (a full disk, Ctrl-C) is kept until the caller asks for it with `check`."""

    def __init__(self, file: Any):
        self.file = file
        self.error: BaseException | None = None
        self._place = 0

    def check(self, errors: bool = True) -> None:
        """Raise what was kept. errors=False: only what is not an Exception, like Ctrl-C."""
        if self.error is not None and (errors or not isinstance(self.error, Exception)):
            raise self.error

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any file."""
        self._place = self._try(lambda: self.file.seek(offset, whence), self._place)
        return self._place

    def tell(self) -> int:
        """As of any file."""
        self._place = self._try(self.file.tell, self._place)
        return self._place

    def read(self, count: int = -1) -> bytes:
        """As of any file."""
        return self._try(lambda: self.file.read(count), b"")

    def readinto(self, buffer: Any) -> int:
        """As of any file."""
        return self._try(lambda: self.file.readinto(buffer), 0)

    def write(self, data: Any) -> int:
        """As of any file; all of it counts as written."""
        self._try(lambda: self.file.write(data), None)
        return len(data)

    def _try(self, do: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return do()
        except BaseException as error:  # Ctrl-C too, which would be lost
            self.error = self.error or error
            return otherwise
