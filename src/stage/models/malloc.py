"""The C library's heap: what is freed is kept for the next kernel, and given back where a lot of it lies idle.

The settings are glibc's; with another C library nothing here has an effect.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

KEPT = 256 << 20
"""Bytes of freed memory that stay with the process at the most."""
LARGE = 64 << 20
"""Bytes of a block from which on it comes from the system, and goes back to it at once."""


def keep() -> None:
    """Keep freed memory, in this whole process: the command line does, a library must not.

    By default glibc gives most of it back, and a codec's kernels then ask for it anew, page by page, hundreds of times
    a second: a tenth of the time to the first audio. A user's own settings of glibc stay.
    """
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")):
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-1, KEPT)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, LARGE)  # M_MMAP_THRESHOLD


def trim() -> None:
    """Give freed memory back to the system: what packing leaves behind is larger than the model."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
