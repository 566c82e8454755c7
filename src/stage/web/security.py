"""Who may ask: names by which the server is called, tokens, and requests that other pages cannot make.

A page of another site cannot read an answer (no CORS header is ever sent), cannot change anything (each change needs a
header that makes a browser ask first, and nobody answers that), and cannot get at the server by a name of its own that
leads here (only the server's own names, and addresses, are accepted as Host).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from stage.web.settings import LOOPBACK, MB, Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

READING = ("GET", "HEAD", "OPTIONS")
CONTENT = ("application/json", "application/octet-stream")
JSON_MOST = 2 * MB
"""Bytes of a request that is not a song."""
HEADER = "x-stage"
OPEN = ("/", "/favicon.ico", "/api/health")
"""What needs no token: the page, which asks for it, and whether the server is there. So does /static."""
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
        " media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; object-src 'none';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}
"""Of every answer."""


class Guard:
    """An ASGI application in front of another: refuses what may not ask, and adds headers to every answer."""

    def __init__(self, app: App, settings: Settings):
        self.app, self.settings = app, settings
        names = {*LOOPBACK} if settings.local else {*settings.hosts, settings.host, socket.gethostname()}
        process = [(b"x-process", str(os.getpid()).encode())] if settings.debug else []
        self.headers = [*((name.encode(), value.encode()) for name, value in HEADERS.items()), *process]
        self.names = {name.lower() for name in (*names, *settings.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in self.headers if pair[0] not in there)]
            await send(message)

        refusal = self.refusal(scope)
        if refusal is not None:
            await _answer(with_headers, *refusal)
            return
        if scope["method"] not in READING and scope["path"] != "/api/songs":
            receive = _limited(receive, JSON_MOST)
        await self.app(scope, receive, with_headers)

    def refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """(status, code, message) of a request that is not let through."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self.is_named(hosts[0]):
            return 400, "host", "this server is not called by that name: use its address, or --allow-host NAME"
        path, method = scope["path"], scope["method"]
        if headers.get("sec-fetch-site", ["same-origin"])[0] in ("cross-site", "same-site") and path != "/":
            return 403, "cross_site", "a page of another site asked: only this server's own page may"
        origin = headers.get("origin", [None])[0]
        if origin is not None and origin.split("://")[-1].lower() != hosts[0].lower():
            return 403, "cross_site", "a page of another site asked: only this server's own page may"
        if method not in READING and (refusal := self._change(method, path, headers)) is not None:
            return refusal
        if self.settings.token and path not in OPEN and not path.startswith("/static/"):
            given = headers.get("authorization", [""])[0]
            if not hmac.compare_digest(given.encode("latin-1", "replace"), f"Bearer {self.settings.token}".encode()):
                return 401, "token", "a token is needed: send it as Authorization: Bearer TOKEN"
        return None

    def _change(self, method: str, path: str, headers: dict[str, list[str]]) -> tuple[int, str, str] | None:
        """Why a request that changes something is not let through."""
        if headers.get(HEADER, [""])[0] != "1":
            return 403, "header", "a request that changes something needs the header X-Stage: 1"
        has_body = headers.get("content-length", ["0"])[0] != "0" or "transfer-encoding" in headers
        kind = headers.get("content-type", [""])[0].split(";")[0].strip().lower()
        if (has_body or method != "DELETE") and kind not in CONTENT:
            return 415, "content_type", f"send {CONTENT[0]}, or {CONTENT[1]} for a song"
        length = headers.get("content-length", ["0"])[0]
        if not (length.isascii() and length.isdigit()):
            return 400, "length", "the content's length is not a number"
        if path != "/api/songs" and int(length) > JSON_MOST:
            return 413, "too_large", f"the request is larger than {JSON_MOST // MB} MB"
        return None

    def is_named(self, host: str) -> bool:
        """Whether a Host header names this server: one of its names, or, beyond localhost, an address."""
        name = host.strip().lower()
        if name.startswith("["):
            name, closed, port = name[1:].partition("]")
            if not closed or port[:1] not in ("", ":"):
                return False
            port = port.removeprefix(":")
        else:
            name, _, port = name.partition(":")
        if port and not (port.isascii() and port.isdigit()):
            return False
        if name.rstrip(".") in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback if self.settings.local else True


def _limited(receive: Receive, most: int) -> Receive:
    """A body's parts, until there are too many."""
    got = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > most:
            raise HTTPException(413, f"the request is larger than {most // MB} MB")
        return message

    return limited


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error": message, "code": code}).encode()
    headers: Iterable[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *([(b"www-authenticate", b"Bearer")] if status == 401 else []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
