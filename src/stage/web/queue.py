"""Whose turn it is: clients in turn, and of each client its sessions in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from stage.web.database import Database, Row

Job = TypeVar("Job")


def in_turn(
    jobs: Sequence[Job], whose: Callable[[Job], str], served: Mapping[str, float], made: Callable[[Job], float]
) -> list[Job]:
    """Jobs in rounds: in each round one of each owner, first of the one that was served the longest ago.

    jobs: in the order that each owner's have. served: when owners were last served. made: when a job came.
    """
    count: dict[str, int] = {}
    keys = []
    for job in jobs:
        owner = whose(job)
        keys.append((count.get(owner, 0), served.get(owner, 0.0), made(job)))
        count[owner] = count.get(owner, 0) + 1
    return [job for _, job in sorted(zip(keys, jobs), key=lambda pair: pair[0])]


def order(jobs: Sequence[Row], clients: Mapping[str, float], sessions: Mapping[str, float]) -> list[Row]:
    """Waiting jobs in the order in which they will be done, if no others come. clients, sessions: when they were last
    served."""
    by_client: dict[str, list[Row]] = {}
    for job in sorted(jobs, key=lambda job: (job["made"], job["seq"])):
        by_client.setdefault(job["client"], []).append(job)
    lines = [in_turn(own, lambda job: job["session"], sessions, lambda job: job["made"]) for own in by_client.values()]
    whole = [job for line in lines for job in line]
    return in_turn(whole, lambda job: job["client"], clients, lambda job: job["made"])


def line(database: Database, lane: str) -> list[Row]:
    """The waiting jobs of a lane in their order."""
    waiting = database.waiting(lane)
    if len(waiting) < 2:
        return waiting
    return order(waiting, database.served("client", lane), database.served("session", lane))
