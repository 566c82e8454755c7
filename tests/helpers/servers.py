"""A server of the page in a process of its own, as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from stage.client import Client


class Running:
    """`stage web` on a free port, with a small model. Use it in a `with`."""

    def __init__(self, data: Path, model: Path, *options: str):
        self.data, self.model, self.options = data, model, options
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "stage", "web", "--port", "0", "--no-browser", "--data", str(self.data)]
        command += ["--model", str(self.model), *self.options]
        self.log = open(self.data.parent / "server.log", "a+b")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True
        )
        line = self.process.stdout.readline()
        assert line.startswith("http"), self.said()
        self.address = line.split()[0].rstrip("/")
        self.client = Client(self.address, token="")

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def kill(self) -> list[psutil.Process]:
        """End it as a crash does; returns the processes that it had."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        return children

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()
        self.log.close()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until(what, seconds: float = 60.0):
    """What `what` returns as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")
