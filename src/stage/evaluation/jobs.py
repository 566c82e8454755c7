"""The jobs of an evaluation, done here or by several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from stage.parallel import results


@dataclass(frozen=True)
class Job:
    """One stem to make and to measure, or one clip to code. `run` returns the row that is kept in `clips.jsonl`."""

    key: str
    run: Callable[[], dict]


Build = Callable[[int], Sequence[Job]]
"""Called once in each process, with the number of threads it may use: all jobs. It is pickled."""


def share(build: Build, keys: Sequence[str], workers: int) -> contextlib.AbstractContextManager[Iterator]:
    """A block with an iterator over (key, row) of the jobs of these keys, as they are done by `workers` processes.

    The threads of this process are divided among them. Raises StageError as `stage.parallel.results`.
    """
    import torch

    threads = max(1, torch.get_num_threads() // max(1, min(workers, len(keys))))
    return results(partial(_runner, build), keys, workers, threads=threads, kept="what was measured is kept")


def _runner(build: Build, threads: int) -> Callable[[str], dict]:
    jobs = {job.key: job for job in build(threads)}
    return lambda key: jobs[key].run()
