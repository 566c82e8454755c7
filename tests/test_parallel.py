"""Tasks side by side: results as they come, one line for whatever goes wrong, no process left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from stage.errors import StageError
from stage.parallel import Ended, Helper, results


class Squares:
    """Counts what it built, in a file, and squares numbers; some numbers are accidents."""

    def __init__(self, folder: str, threads: int):
        self.folder, self.threads = Path(folder), threads
        (self.folder / f"built-{os.getpid()}").touch()

    def __call__(self, number: int) -> tuple[int, int, int]:
        if number == 13:
            raise StageError("13 cannot be squared: take 14")
        if number == 17:
            raise ValueError("seventeen\nis prime")
        if number == 19:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 23:
            return lambda: None  # cannot be sent
        if number == 99:
            (self.folder / "sleeps").touch()
            time.sleep(600)
        return number**2, self.threads, os.getpid()

    def close(self):
        (self.folder / "closed").touch()


def _unready(threads):
    raise ImportError("no library of that name")


def _refusing(threads):
    raise StageError("the model is not there: install it")


def squares(folder, numbers, workers, **options):
    with results(partial(Squares, str(folder)), numbers, workers, **options) as made:
        return dict(made)


def test_every_task_is_done_once_and_each_process_is_built_once(tmp_path):
    made = squares(tmp_path, range(20, 30, 2), 2, threads=3)
    assert {task: answer[0] for task, answer in made.items()} == {n: n**2 for n in range(20, 30, 2)}
    assert {answer[1] for answer in made.values()} == {3}
    processes = {answer[2] for answer in made.values()}
    assert os.getpid() not in processes and 1 <= len(processes) <= 2
    assert len(list(tmp_path.glob("built-*"))) == 2 and not multiprocessing.active_children()


def test_one_worker_is_this_process_and_is_closed(tmp_path):
    assert squares(tmp_path, [2, 3], 1) == {2: (4, 1, os.getpid()), 3: (9, 1, os.getpid())}
    assert (tmp_path / "closed").exists()
    assert squares(tmp_path / "nothing", [], 2) == {}
    with pytest.raises(ValueError, match="prime"):  # with its traceback
        squares(tmp_path, [17], 1)


@pytest.mark.parametrize(
    "number, line",
    [
        (13, "13 cannot be squared: take 14"),
        (17, "task 17 failed (ValueError: seventeen is prime): rows are kept. --workers 1 goes on and shows where"),
        (19, "a worker was ended from outside (no memory left?): rows are kept, fewer --workers go on"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_one_line(tmp_path, number, line):
    with pytest.raises(StageError) as caught:
        squares(tmp_path, [number, 2], 2, kept="rows are kept", label="task {}".format)
    assert str(caught.value) == line and not multiprocessing.active_children()


def test_a_result_that_cannot_be_sent_is_no_silence(tmp_path):
    with pytest.raises(StageError, match="^23 failed .*pickle"):
        squares(tmp_path, [23, 2], 2)


def test_a_worker_that_cannot_start_reports_why():
    for build, line in ((_unready, "a worker failed .ImportError: no library of that name"), (_refusing, "install it")):
        with pytest.raises(StageError, match=line), results(build, [1, 2], 2) as made:
            list(made)
    assert not multiprocessing.active_children()


def test_leaving_the_block_early_ends_the_processes(tmp_path):
    with results(partial(Squares, str(tmp_path)), [2, 99, 99], 2) as made:
        assert next(made)[0] == 2
    assert not multiprocessing.active_children()


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_at_once_with_their_parent(tmp_path, stop):
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from test_parallel import squares\n"
        f"if __name__ == '__main__': squares({str(tmp_path)!r}, [99, 99], 2)\n"
    )
    program = tmp_path / "program.py"
    program.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, program], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while len(built := list(tmp_path.glob("built-*"))) < 2 or not (tmp_path / "sleeps").exists():
        assert parent.poll() is None
        time.sleep(0.02)
    (os.killpg if stop == signal.SIGINT else os.kill)(parent.pid, stop)
    parent.wait(20)
    ends = time.time() + 10
    while any(runs(int(path.name[6:])) for path in built):
        assert time.time() < ends
        time.sleep(0.02)


def counting(threads: int):
    """A helper's work: counts to a number and reports, or does what a word says."""
    built = os.getpid()

    def work(task, report):
        if task == "wrong":
            raise StageError("that is wrong: take another")
        if task == "odd":
            raise ValueError("seventeen\nis prime")
        if task == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "sleeps":
            time.sleep(600)
        for i in range(task):
            if not report(i):
                return "stopped"
        return built, threads

    return work


def test_a_helper_does_one_task_after_another_and_reports():
    helper, reports = Helper(counting, 2), []
    try:
        assert helper.do(3, reports.append) == (helper.pid, 2) and reports == [0, 1, 2]
        with pytest.raises(StageError, match="^that is wrong: take another$"):
            helper.do("wrong")
        with pytest.raises(StageError, match="ValueError: seventeen is prime"):
            helper.do("odd")
        assert helper.do(10**7, stop=lambda: True) == "stopped"
        assert helper.do(1) == (helper.pid, 2)
    finally:
        helper.close()
    assert not helper.alive


def test_a_helper_that_dies_or_does_not_stop_is_ended():
    for task, options in [("dies", {}), ("sleeps", {"stop": lambda: True, "grace": 0.1}), ("sleeps", {"seconds": 0.5})]:
        helper = Helper(counting)
        pid = helper.pid
        with pytest.raises(Ended, match="was ended"):
            helper.do(task, **options)
        assert not psutil.pid_exists(pid)
