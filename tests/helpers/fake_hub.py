"""A hub on this machine: what `huggingface_hub` asks of the real one, over HTTP, with breaks of the connection to
order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from stage.checkpoints import hub as ours

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`repositories`: name -> {file: bytes}. `large`: from so many bytes on, files have a sha256 as those of git-lfs
    do."""

    def __init__(self, large: int = 1000):
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.licences: dict[str, str] = {}
        self.gated: set[str] = set()
        self.large, self.cut, self.spoil, self.status = large, [], False, 0
        self.calls: list[tuple[str, str, str]] = []  # method, path, range
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def got(self, file: str) -> list[str]:
        """The ranges of the downloads of a file, "" for a whole one."""
        return [wanted for method, path, wanted in self.calls if method == "GET" and path.endswith("/" + file)]

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(to.path).path)
        self.calls.append((to.command, path, to.headers.get("Range") or ""))
        if self.status:
            return self._error(to, self.status, "")
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?/?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not (api or file):
            return self._error(to, 404, "EntryNotFound")
        name, revision = (api[1], api[3]) if api else (file[1], file[2])
        if name not in self.repositories:
            return self._error(to, 401, "RepoNotFound")
        if revision not in (None, "main", "v1", COMMIT):
            return self._error(to, 404, "RevisionNotFound")
        files = self.repositories[name]
        if api and api[2] == "tree":
            return self._json(
                to,
                [
                    {"type": "file", "path": f, "oid": self._oid(d), "size": len(d)} | self._lfs(d)
                    for f, d in files.items()
                ],
            )
        if api:
            siblings = [
                {"rfilename": f, "size": len(d), "blobId": self._oid(d)} | self._lfs(d) for f, d in files.items()
            ]
            card = {"license": self.licences[name]} if name in self.licences else {}
            return self._json(
                to, {"id": name, "sha": COMMIT, "siblings": siblings, "cardData": card, "gated": name in self.gated}
            )
        if name in self.gated:
            return self._error(to, 403, "GatedRepo")
        if file[3] not in files:
            return self._error(to, 404, "EntryNotFound")
        self._file(to, files[file[3]])

    def _oid(self, data: bytes) -> str:
        return hashlib.sha1(data).hexdigest()

    def _lfs(self, data: bytes) -> dict:
        sha = hashlib.sha256(data).hexdigest()
        return (
            {"lfs": {"oid": sha, "sha256": sha, "size": len(data), "pointerSize": 130}}
            if len(data) >= self.large
            else {}
        )

    def _file(self, to: BaseHTTPRequestHandler, data: bytes) -> None:
        lfs = self._lfs(data)
        etag = lfs["lfs"]["sha256"] if lfs else self._oid(data)
        wanted = to.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        to.send_response(206 if wanted else 200)
        to.send_header("ETag", f'"{etag}"')
        to.send_header("X-Repo-Commit", COMMIT)
        to.send_header("Accept-Ranges", "bytes")
        to.send_header("Content-Length", str(len(data) - start))
        if wanted:
            to.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        to.end_headers()
        if to.command == "HEAD":
            return
        body = bytes(len(data) - start) if self.spoil and lfs else data[start:]
        if self.cut and lfs:
            body = body[: self.cut.pop(0)]
        to.wfile.write(body)
        to.close_connection = True

    def _json(self, to: BaseHTTPRequestHandler, value: object) -> None:
        body = json.dumps(value).encode()
        to.send_response(200)
        to.send_header("Content-Type", "application/json")
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)

    def _error(self, to: BaseHTTPRequestHandler, status: int, code: str) -> None:
        to.send_response(status)
        to.send_header("X-Error-Code", code)
        to.send_header("X-Error-Message", code)
        to.send_header("Content-Length", "0")
        to.end_headers()


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """A hub that `huggingface_hub` takes for the real one, with an empty cache, small pieces and no waiting."""
    from huggingface_hub import constants

    made = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", made.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", made.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(ours, "LARGE", made.large)
    try:
        yield made
    finally:
        made.close()
