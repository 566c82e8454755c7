"""Signals that ask a training to save and stop."""

from __future__ import annotations

import signal
import threading
from typing import Any

import torch


class Signals:
    """While it lasts, SIGTERM and SIGINT ask the run to save and exit (``asked``); a second one ends it at once."""

    def __enter__(self) -> Signals:
        self.asked = False
        self.before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def undisturbed(worker: int) -> None:
    """Starts a process of a DataLoader: signals are for the training, which ends its workers itself. Each has one
    core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
