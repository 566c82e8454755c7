"""Whose turn it is."""

from stage.web.queue import order


def rows(*jobs: str) -> list[dict]:
    """Jobs like "a1": of client a, session 1, in the order in which they came."""
    return [
        {"id": f"{job}-{i}", "client": job[0], "session": job, "made": float(i), "seq": i} for i, job in enumerate(jobs)
    ]


def names(found: list[dict]) -> list[str]:
    return [job["id"] for job in found]


def test_sessions_of_one_client_take_turns():
    assert names(order(rows("a1", "a1", "a1", "a2", "a2"), {}, {})) == ["a1-0", "a2-3", "a1-1", "a2-4", "a1-2"]


def test_a_client_with_many_sessions_has_no_more_turns_than_one_with_one():
    found = names(order(rows("a1", "a2", "a3", "a4", "b1", "b1"), {}, {}))
    assert found == ["a1-0", "b1-4", "a2-1", "b1-5", "a3-2", "a4-3"]


def test_who_was_served_last_comes_last():
    assert names(order(rows("a1", "a1", "b1"), {"a": 5.0}, {}))[0] == "b1-2"
    assert names(order(rows("a1", "a2"), {"a": 5.0}, {"a1": 5.0}))[0] == "a2-1"


def test_fifty_jobs_of_one_do_not_keep_another_waiting():
    found = names(order(rows(*["a1"] * 50, "b1"), {"a": 9.0}, {"a1": 9.0}))
    assert found[0] == "b1-50" and found[1:] == [f"a1-{i}" for i in range(50)]
