"""Figures in Prometheus' text form, of the whole folder, whichever process is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import stage
from stage.web.database import ENDED, RUNNING, WAITING

if TYPE_CHECKING:
    from stage.web.server import Server


def text(server: Server) -> str:
    """The figures of now."""
    counts = server.database.counts()
    seconds, waited = server.database.times()
    lines = [f'# TYPE stage_info gauge\nstage_info{{version="{stage.__version__}"}} 1']

    def add(name: str, kind: str, what: str, values: dict[str, float]) -> None:
        lines.append(f"# HELP {name} {what}\n# TYPE {name} {kind}")
        lines.extend(f"{name}{labels} {value:g}" for labels, value in values.items())

    states = {f'{{state="{state}"}}': float(counts.get(state, 0)) for state in (WAITING, RUNNING, *ENDED)}
    add("stage_jobs", "gauge", "Jobs of the last week, by state.", states)
    add("stage_job_seconds_total", "counter", "Seconds that jobs that are done took.", seconds)
    add("stage_job_wait_seconds_total", "counter", "Seconds that they waited.", waited)
    add("stage_sessions", "gauge", "Sessions.", {"": float(len(server.database.sessions()))})
    add("stage_data_bytes", "gauge", "Bytes of the data folder.", {"": float(server.disk.size)})
    add("stage_listeners", "gauge", "Event streams that this process serves.", {"": float(server.events.listeners)})
    restarts = server.runner.restarts if server.runner else 0
    add("stage_worker_ends_total", "counter", "Processes that ended before their job.", {"": float(restarts)})
    return "\n".join(lines) + "\n"
