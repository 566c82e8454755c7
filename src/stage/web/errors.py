"""Errors that the API answers with: a status, a word for programs, and one line for people."""

from __future__ import annotations

from typing import Any

from stage.errors import StageError
from stage.web.schemas import Error


class Refused(StageError):
    """A request that is not done."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


def missing(what: str) -> Refused:
    return Refused(404, "not_found", f"there is no such {what}: it may have been removed")


WHY = {
    400: "not understood",
    401: "a token is missing or wrong",
    403: "not allowed from where it came",
    404: "not there",
    405: "not a method of this path",
    409: "not possible now",
    411: "length missing",
    413: "too large",
    415: "not the right kind of content",
    416: "not a range of the file",
    422: "cannot be done as asked",
    429: "too many jobs wait",
    507: "the disk is full",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an endpoint, for OpenAPI. Those that any request may have are added."""
    return {status: {"model": Error, "description": WHY[status]} for status in (*statuses, 400, 401, 403, 422)}
