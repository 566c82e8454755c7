"""A hub of one repository on this machine, for the real ``huggingface_hub`` to talk to."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class SmallHub(ThreadingHTTPServer):
    """Serves the files of a folder as the repository ``owner/name``. cut: break the first download of model.safetensors after so many bytes."""

    def __init__(self, folder: Path, name: str = "someone/musicgen-tiny", licence: str = "cc-by-nc-4.0", gated: bool = False, cut: int = 0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.name, self.licence, self.gated, self.cut = folder, name, licence, gated, cut
        self.seen: list[tuple[str, str, str | None]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallHub

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def reply(self, code: int, data: bytes = b"", body: bool = True, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def answer(self, body: bool) -> None:
        hub, path = self.server, urlsplit(self.path).path
        hub.seen.append((self.command, path, self.headers.get("Range")))
        parts = path.strip("/").split("/")
        if hub.name not in path:
            self.reply(404, b"{}", body, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        elif hub.gated:
            self.reply(403, b"{}", body, X_Error_Code="GatedRepo", X_Error_Message="Access to this model is restricted")
        elif parts[0] == "api":
            revision = parts[5] if len(parts) > 5 else "main"
            if revision not in ("main", COMMIT, "v1"):
                return self.reply(404, b"{}", body, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
            files = sorted(hub.folder.iterdir())
            if parts[4:5] == ["tree"]:
                listing = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": self.tag(f)} for f in files]
                return self.reply(200, json.dumps(listing).encode(), body, Content_Type="application/json")
            info = {
                "id": hub.name, "modelId": hub.name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "likes": 0,
                "cardData": {"license": hub.licence}, "siblings": [{"rfilename": f.name, "size": f.stat().st_size} for f in files],
            }  # fmt: skip
            self.reply(200, json.dumps(info).encode(), body, Content_Type="application/json")
        else:
            self.file(hub.folder / parts[-1], body)

    @staticmethod
    def tag(file: Path) -> str:
        return hashlib.sha1(file.read_bytes()).hexdigest()

    def file(self, file: Path, body: bool) -> None:
        if not file.is_file():
            return self.reply(404, b"", body, X_Error_Code="EntryNotFound")
        data, whole = file.read_bytes(), file.stat().st_size
        common = {"ETag": f'"{self.tag(file)}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
        asked = self.headers.get("Range")
        if asked:
            first = int(asked.removeprefix("bytes=").split("-")[0])
            return self.reply(206, data[first:], body, Content_Range=f"bytes {first}-{whole - 1}/{whole}", **common)
        if body and self.server.cut and file.name == "model.safetensors":
            cut, self.server.cut = self.server.cut, 0
            self.send_response(200)
            for name, value in common.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(whole))
            self.end_headers()
            self.wfile.write(data[:cut])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.reply(200, data, body, **common)
