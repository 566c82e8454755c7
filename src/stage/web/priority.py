"""The answering process yields to the job: its threads have a lower priority than the processes that play."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

LOWER = 10
"""By which the niceness of threads that answer is raised."""


def lower() -> None:
    """Lower the priority of the calling thread, and of those that it starts from now on.

    On Linux a niceness belongs to a thread, and threads and processes have that of the thread that starts them; only
    root can take it back. So this is called by the thread that answers, after those that start the processes that play
    (`stage.web.runner`): they keep their own. Elsewhere it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + LOWER))
