"""Independent tasks side by side: in this process, in processes of this machine, or on a Ray cluster.

Unlike a pool of `concurrent.futures`, the processes end with their parent, even where that is killed, and a process
that cannot start reports why. `Helper` is one process that stays, for tasks that come one after another.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from stage.errors import MissingExtra, StageError

Task = TypeVar("Task")
Result = TypeVar("Result")
Build = Callable[[int], Callable[[Task], Result]]
"""Called once in each process with the number of threads that the process may use; returns what does a task. It is
pickled, so it is a function or class at the top of a module, or a `functools.partial` of one. If what it returns has a
method `close`, that is called at the end where the tasks are done in this process."""

Report = Callable[[Any], bool]
"""Called by a task of a `Helper` with what is to be said meanwhile; returns False where the task is to stop."""

BuildHelper = Callable[[int], Callable[[Any, Report], Any]]
"""As `Build`, of a `Helper`."""

KEPT = "what is done is kept"


@contextlib.contextmanager
def results(
    build: Build,
    tasks: Sequence[Task],
    workers: int = 1,
    *,
    threads: int = 1,
    kept: str = KEPT,
    label: Callable[[Task], str] = str,
    ray: str | None = None,
) -> Iterator[Iterator[tuple[Task, Any]]]:
    """An iterator over (task, result), in the order in which they are done. Leaving the block ends the processes.

    workers: processes; one is this process itself, which raises whatever a task raises. threads: for each process.
    kept: for error messages, what an interruption leaves. label: a task's name in error messages. ray: address of a
    Ray cluster ("local" for one of this machine) that is used instead of processes.
    Ctrl-C reaches this process alone, which then ends the others.

    The iterator raises StageError: that of a task, one that names the task for any other exception, and one for a
    process that was killed.
    """
    if ray is not None:
        made = _on_ray(build, tasks, ray)
    elif workers <= 1 or len(tasks) <= 1:
        made = _here(build, tasks, threads)
    else:
        made = _in_processes(build, tasks, min(workers, len(tasks)), threads, kept, label)
    with contextlib.closing(made):
        yield made


def _here(build: Build, tasks: Sequence[Task], threads: int) -> Generator[tuple[Task, Any], None, None]:
    if tasks:
        work = build(threads)
        try:
            for task in tasks:
                yield task, work(task)
        finally:
            getattr(work, "close", lambda: None)()


# ---------------------------------------------------------------- processes of this machine


def _in_processes(
    build: Build, tasks: Sequence[Task], count: int, threads: int, kept: str, label: Callable[[Task], str]
) -> Generator[tuple[Task, Any], None, None]:
    context = multiprocessing.get_context("spawn")
    job = pickle.dumps(build)
    processes: dict[Connection, BaseProcess] = {}
    at: dict[Connection, Task] = {}
    waiting = iter(tasks)
    try:
        with _interrupts_ignored():
            for _ in range(count):
                here, there = context.Pipe()
                process = context.Process(target=_process, args=(there, job, threads), daemon=True)
                process.start()
                there.close()
                processes[here] = process
        for here in processes:
            _send_next(here, waiting, at)
        while at:
            ready = wait(list(at))
            for here in [pipe for pipe in at if pipe in ready]:
                try:
                    failure, answer = here.recv()
                except (EOFError, OSError):
                    raise StageError(
                        f"a worker was ended from outside (no memory left?): {kept}, fewer --workers go on"
                    ) from None
                task = at.pop(here)
                if failure == "expected":
                    raise StageError(answer)
                if failure:
                    where = label(task) if failure == "task" else "a worker"
                    raise StageError(f"{where} failed ({answer}): {kept}. --workers 1 goes on and shows where")
                _send_next(here, waiting, at)
                yield task, answer
    except BaseException:
        for process in processes.values():
            process.terminate()
        raise
    finally:
        for here, process in processes.items():
            process.join(10)
            process.kill()
            process.join()
            here.close()


def _send_next(pipe: Connection, waiting: Iterator[Task], at: dict[Connection, Task]) -> None:
    """Send the next task to a process, or None where there is none left."""
    for task in waiting:
        at[pipe] = task
        with contextlib.suppress(OSError):  # of a dead process: noticed where its answer is read
            pipe.send((task,))
        return
    with contextlib.suppress(OSError):
        pipe.send(None)


# ---------------------------------------------------------------- one process that stays


class Ended(StageError):
    """A helper's process ended before its task did."""


class Helper:
    """A process of its own that does one task after another, reports meanwhile, and can be asked to stop.

    build: as for `results`, but what it returns is called with a task and a `Report`. It is called in the process when
    the first task comes. threads: that the process may use; 0: as many as it finds. Use it from one thread.
    """

    def __init__(self, build: BuildHelper, threads: int = 1):
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._stop = context.Event()
        arguments = there, pickle.dumps(build), threads, self._stop
        with _interrupts_ignored():
            self._process = context.Process(target=_helper, args=arguments, daemon=True)
            self._process.start()
        there.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def do(
        self,
        task: Any,
        on_report: Callable[[Any], None] | None = None,
        stop: Callable[[], bool] | None = None,
        seconds: float | None = None,
        grace: float = 20.0,
    ) -> Any:
        """The result of a task.

        on_report: called with each of its reports. stop: asked about every quarter of a second whether the task is to
        stop; a process that has not stopped `grace` seconds later is killed. seconds: the same after so much time.
        Raises StageError as the task does, one line for any other exception, and `Ended` for a process that was ended.
        """
        began, asked = time.monotonic(), None
        self._stop.clear()
        try:
            self._pipe.send((task,))
            while True:
                if self._pipe.poll(0.25):
                    kind, answer = self._pipe.recv()
                    if kind != "report":
                        break
                    if on_report:
                        on_report(answer)
                now = time.monotonic()
                if asked is None and stop is not None and stop():
                    self._stop.set()
                    asked = now
                if (asked is not None and now - asked > grace) or (seconds is not None and now - began > seconds):
                    self._process.kill()
        except (EOFError, OSError):
            self.close()
            late = seconds is not None and time.monotonic() - began > seconds
            why = f"it took more than {seconds:g} seconds" if late else "not enough memory, perhaps"
            raise Ended(f"the process that worked on it was ended ({why})") from None
        if kind == "expected":
            raise StageError(answer)
        if kind:
            raise StageError(f"it failed unexpectedly ({answer}); please report this")
        return answer

    def kill(self) -> None:
        """End the process, from another thread than the one that waits for its task: that one gets `Ended`."""
        self._process.kill()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(2)
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _helper(pipe: Connection, job: bytes, threads: int, stop: Event) -> None:
    """The process of a `Helper`: answers as `_process` does, and ("report", value) meanwhile."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit_threads(threads)

    def report(value: Any) -> bool:
        pipe.send(("report", value))
        return not stop.is_set()

    work = None
    with contextlib.suppress(EOFError, OSError):
        while (sent := pipe.recv()) is not None:
            try:
                if work is None:
                    work = pickle.loads(job)(threads)
                answer = pickle.dumps(("", work(sent[0], report)))
            except StageError as error:
                answer = pickle.dumps(("expected", str(error)))
            except Exception as error:
                answer = pickle.dumps(("task", f"{type(error).__name__}: {' '.join(str(error).split())}"))
            pipe.send_bytes(answer)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started in this block ignore Ctrl-C from their first moment on: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _process(pipe: Connection, job: bytes, threads: int) -> None:
    """A worker: answers each task with ("", result), or with (what failed, a message), until None comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that half-written files are removed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit_threads(threads)
    work = None
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while (sent := pipe.recv()) is not None:
            stage = "start"
            try:
                if work is None:
                    build = pickle.loads(job)
                    if "torch" in sys.modules:
                        sys.modules["torch"].set_num_threads(threads)
                    work = build(threads)
                stage = "task"
                answer = pickle.dumps(("", work(sent[0])))
            except StageError as error:
                answer = pickle.dumps(("expected", str(error)))
            except Exception as error:
                answer = pickle.dumps((stage, f"{type(error).__name__}: {' '.join(str(error).split())}"))
            pipe.send_bytes(answer)


def _limit_threads(threads: int) -> None:
    """Limit libraries that are not imported yet."""
    if threads:
        os.environ.update(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


# ---------------------------------------------------------------- a Ray cluster


def _on_ray(build: Build, tasks: Sequence[Task], address: str) -> Generator[tuple[Task, Any], None, None]:
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise MissingExtra("work on a Ray cluster", "cluster") from None
    mine = not ray.is_initialized()
    if mine:
        ray.init(address=None if address == "local" else address, log_to_driver=False, include_dashboard=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=2)(_ray_task)
        job = pickle.dumps(build)
        waiting = {remote.remote(job, task): task for task in tasks}
        while waiting:
            for ready in ray.wait(list(waiting))[0]:
                try:
                    yield waiting.pop(ready), ray.get(ready)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, StageError) else error from None
    finally:
        if mine:
            ray.shutdown()


def _ray_task(job: bytes, task: Any) -> Any:
    return _built(job)(task)


@functools.lru_cache(maxsize=1)
def _built(job: bytes) -> Callable[[Any], Any]:
    """A Ray process serves many tasks: what they share is built once in it."""
    return pickle.loads(job)(1)
