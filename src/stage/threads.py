"""How many threads of torch's compute something on a CPU, and how they wait for each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

SPINS = 10000
"""Turns for which a thread that waits for others keeps its core: half a millisecond, more than between
two kernels."""


def wait_shortly() -> None:
    """Let threads of GNU's OpenMP sleep soon where they wait for each other, in this whole process and those that it
    starts: the command line does, before torch is imported; a library must not.

    By default they spin for thirty times as long, and where other programs have the cores each kernel lasts until they
    had a turn: a step of a decoder of MusicGen's size took 1.0 s in place of 0.5, and on an idle machine 0.05 with
    either. A user's own settings stay.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """What is computed inside takes the calling thread alone.

    For sums that must not depend on the number of threads, to the last bit: with several a sum may be divided
    otherwise, and a function of each value may take other instructions for those at the end of a thread's part. And for
    short kernels, one after another: at the end of each the threads wait for each other, spinning, which takes as long
    as another program has the core.
    """
    import torch  # not above: the command line is here before it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
