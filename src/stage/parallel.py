"""Independent tasks side by side: in processes of one machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stage.errors import MissingExtra, StageError


def side_by_side(
    work: Callable[..., Any], tasks: Sequence[tuple], workers: int = 1, ray: str | None = None
) -> Iterator[Any]:
    """What `work(*task)` returns for each task, as it comes: in this process, in `workers` processes, or on the Ray
    cluster at an address.

    Raises StageError where a worker is ended from outside, and what `work` raises.
    """
    if ray is not None:
        yield from _on_ray(work, tasks, ray)
    elif workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield work(*task)
    else:
        from concurrent.futures import ProcessPoolExecutor, as_completed
        from concurrent.futures.process import BrokenProcessPool
        from multiprocessing import get_context

        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            waiting = [pool.submit(work, *task) for task in tasks]
            try:
                for one in as_completed(waiting):
                    yield one.result()
            except BrokenProcessPool:
                raise StageError(
                    "a worker was ended from outside (no memory left?): the songs that are done are kept, fewer"
                    " --workers go on"
                ) from None
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _on_ray(work: Callable[..., Any], tasks: Sequence[tuple], address: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError:
        raise MissingExtra("work on a Ray cluster", "cluster") from None
    mine = not ray.is_initialized()
    if mine:
        ray.init(address=None if address == "local" else address, log_to_driver=False, include_dashboard=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=2)(work)
        waiting = [remote.remote(*task) for task in tasks]
        while waiting:
            ready, waiting = ray.wait(waiting)
            try:
                yield from ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, StageError) else error from None
    finally:
        if mine:
            ray.shutdown()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
