"""Processes that share the clips of an evaluation: each asks for the next, and says what it heard.

A `concurrent.futures` pool would do but for two things: its processes outlive a parent that is killed, and the one that
fails to load says no more than that the pool is broken.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from stage.errors import StageError


@dataclass(frozen=True)
class Job:
    """One stem to make and to listen to, or one clip to code. `run` returns what is kept in `clips.jsonl`."""

    key: str
    run: Callable[[], dict]


Build = Callable[[int], Sequence[Job]]
"""Called once in each process, with the threads it may take: the jobs, of which it will be given some keys. To be
pickled."""


def share(build: Build, keys: Sequence[str], count: int) -> Iterator[tuple[str, dict]]:
    """(key, row) of each job as it comes, made by at most `count` processes. Whatever ends this ends the processes
    too."""
    import torch

    count = min(count, len(keys))
    threads = max(1, torch.get_num_threads() // count)
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, multiprocessing.process.BaseProcess] = {}
    waiting = iter(keys)
    try:
        with _deaf():
            for _ in range(count):
                here, there = context.Pipe()
                worker = context.Process(target=_work, args=(there, build, threads), daemon=True)
                worker.start()
                there.close()
                workers[here] = worker
        for here in workers:
            _send(here, next(waiting))
        busy = set(workers)
        while busy:
            for here in wait(busy):
                try:
                    key, answer = here.recv()
                except (EOFError, OSError):
                    raise StageError(
                        "a worker was ended from outside (no memory left?): what was measured is kept, fewer --workers"
                        " go on"
                    ) from None
                if isinstance(answer, str):
                    raise StageError(answer)
                following = next(waiting, None)
                _send(here, following)
                if following is None:
                    busy.remove(here)
                yield key, answer
    except BaseException:
        for worker in workers.values():
            worker.terminate()
        raise
    finally:
        for worker in workers.values():
            worker.join(10)
            worker.kill()
            worker.join()


def _send(pipe: Connection, key: str | None) -> None:
    """The key goes to a worker; one that is gone is noticed where its answer is awaited."""
    with contextlib.suppress(OSError):
        pipe.send(key)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Processes started herein do not hear Ctrl-C, from their first moment on: to end them is this one's affair."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: Connection, build: Build, threads: int) -> None:
    """The life of a worker: it is sent keys until None comes, and answers each with (key, row), or (key, what is
    wrong)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that a half-written file is taken away
    jobs: dict[str, Job] = {}
    # When the other end is gone, nobody waits for an answer.
    with contextlib.suppress(EOFError, OSError):
        while (key := pipe.recv()) is not None:
            try:
                jobs = jobs or {job.key: job for job in build(threads)}
                answer = jobs[key].run()
            except StageError as error:
                answer = str(error)
            except Exception as error:
                answer = (
                    f"{key} failed ({type(error).__name__}: {error}): what was measured is kept. --workers 1 goes on"
                    " and shows where"
                )
            pipe.send((key, answer))
