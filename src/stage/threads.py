"""How many threads of torch's compute something on a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """What is computed inside takes the calling thread alone.

    For sums that must not depend on the number of threads, to the last bit: with several a sum may be divided
    otherwise, and a function of each value may take other instructions for those at the end of a thread's part. And for
    short kernels, one after another: at the end of each the threads wait for each other, spinning, which takes as long
    as another program has the core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
