"""The API asked at random, from its own description: no answer but those that it describes."""

import os

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

EXAMPLES = int(os.environ.get("STAGE_FUZZ", "5"))
"""Requests to each endpoint; a longer run: STAGE_FUZZ=200"""
ENDLESS = ("/api/sessions/{id}/events",)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def ids(running):
    """Of things that are there, so that requests get beyond the first look."""
    session = running.client.begin(bpm=120, bars=2, chords="Am")
    track = session.add("drums")
    take = track["takes"][0]
    job = session.queue("export")
    session.finish(job)
    return {
        "sessions": [session.id],
        "files": [take["file"], take["notes"], session.state["click"]],
        "jobs": [job["id"]],
    }


def test_the_api_does_what_its_description_says(running, ids):
    schema = schemathesis.openapi.from_url(f"{running.address}/api/openapi.json")
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS or (operation.method == "delete" and "sessions" in operation.path):
            continue
        kind = operation.path.split("/")[2] if operation.path.count("/") > 2 else ""
        known = hypothesis.strategies.sampled_from(ids.get(kind, [None]))

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=EXAMPLES < 50,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=operation.as_strategy(), id=known, real=hypothesis.strategies.booleans())
        def ask(case, id, real):
            if id is not None and real and "id" in case.path_parameters:
                case.path_parameters["id"] = id
            case.call_and_validate(headers={"X-Stage": "1"}, checks=CHECKS, timeout=30)
            asked.add((case.operation.method, case.operation.path))

        ask()
    assert len(asked) >= 15 and running.client.health()["status"] == "ok"
    assert "Traceback" not in running.said()
