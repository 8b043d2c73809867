"""A hub on 127.0.0.1, as huggingface_hub speaks with one, and its storage on another port; with faults on demand.

/api/models/ORG/NAME[/revision/REV]     the files at a commit, with sizes and digests
/ORG/NAME/resolve/REV/FILE              the file; one that is large (LFS) is a redirect to the storage
STORAGE/SHA256                          its content, in ranges too
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Request:
    method: str
    path: str
    range: str
    authorization: str
    storage: bool


@dataclass
class Hub:
    """`cut`: content ends after so many bytes, as often as `cuts` says; `spoil`: one byte of what is stored is another;
    `hold`: content stops after `cut` until it is set; `down`: every request is hung up on; `deaf`: those for the rest
    of something; `ranges` False: they get the whole."""

    repos: dict[str, Path] = field(default_factory=dict[str, Path])
    gated: set[str] = field(default_factory=set[str])
    tokens: set[str] = field(default_factory=set[str])
    requests: list[Request] = field(default_factory=list[Request])
    cut: int = 0
    cuts: int = 0
    spoil: bool = False
    down: bool = False
    deaf: bool = False
    ranges: bool = True
    hold: threading.Event | None = None
    held: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    storage_url: str = ""

    def asked(self, name: str) -> list[Request]:
        """Requests whose path ends so."""
        return [request for request in self.requests if request.path.endswith(name)]


def environment(hub: Hub, home: Path, **others: str) -> dict[str, str]:
    """Of a process that shall know this hub alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
    return {**kept, "HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_HUB_DOWNLOAD_TIMEOUT": "100", **others}


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, storage)) for storage in (False, True)]
    hub.url, hub.storage_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        if hub.hold is not None:
            hub.hold.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def large(name: str) -> bool:
    """Whether the hub keeps it in its storage."""
    return name.endswith(".safetensors") or name == "tokenizer.json"


def sha256(path: Path) -> str:
    about = path.stat()
    return _sha256(path, about.st_size, about.st_mtime_ns)


@lru_cache
def _sha256(path: Path, _size: int, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_sha1(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def _handler(hub: Hub, storage: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.hub, Handler.storage = hub, storage
    return Handler


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    storage: bool
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, headers = unquote(urlsplit(self.path).path), self.headers
        note = Request(self.command, path, headers.get("range", ""), headers.get("authorization", ""), self.storage)
        self.hub.requests.append(note)
        if self.hub.down or (self.hub.deaf and note.range):
            self.close_connection = True
        elif self.storage:
            self._content(next(file for file in self._files() if sha256(file) == path.removeprefix("/")))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._listing(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*found.groups())
        else:
            self._error(404, "")

    def _files(self) -> list[Path]:
        return [file for folder in self.hub.repos.values() for file in folder.iterdir()]

    def _known(self, repo: str, revision: str) -> bool:
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if repo not in self.hub.repos:
            self._error(401 if not token else 404, "RepoNotFound")
        elif repo in self.hub.gated and token not in self.hub.tokens:
            self._error(403 if token else 401, "GatedRepo")
        elif revision not in ("main", "v1", COMMIT):
            self._error(404, "RevisionNotFound")
        else:
            return True
        return False

    def _listing(self, repo: str, revision: str) -> None:
        if not self._known(repo, revision):
            return
        files = [self._sibling(file) for file in sorted(self.hub.repos[repo].iterdir())]
        body = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": files, "tags": [], "downloads": 0, "likes": 0}
        self._send(200, {"content-type": "application/json"}, json.dumps(body | {"private": False}).encode())

    @staticmethod
    def _sibling(file: Path) -> dict[str, Any]:
        size = file.stat().st_size
        found: dict[str, Any] = {"rfilename": file.name, "size": size, "blobId": git_sha1(file)}
        return found | ({"lfs": {"sha256": sha256(file), "size": size, "pointerSize": 134}} if large(file.name) else {})

    def _file(self, repo: str, revision: str, name: str) -> None:
        if not self._known(repo, revision):
            return
        file = self.hub.repos[repo] / name
        if not file.is_file():
            self._error(404, "EntryNotFound")
        elif large(name):
            digest = sha256(file)
            facts = {"x-linked-etag": f'"{digest}"', "x-linked-size": str(file.stat().st_size)}
            self._send(302, {"location": f"{self.hub.storage_url}/{digest}", "x-repo-commit": COMMIT, **facts})
        else:
            self._content(file, {"etag": f'"{git_sha1(file)}"', "x-repo-commit": COMMIT})

    def _content(self, file: Path, headers: dict[str, str] | None = None) -> None:
        content, status, wanted = file.read_bytes(), 200, self.headers.get("range", "")
        headers = {"accept-ranges": "bytes", **(headers or {})}
        if self.hub.spoil and self.storage:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.hub.ranges and (found := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)):
            begin, end = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
            headers["content-range"], status = f"bytes {begin}-{end}/{len(content)}", 206
            content = content[begin : end + 1]
        self._send(status, headers, content)

    def _send(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.storage and self.hub.cut and self.hub.cuts and len(content) > self.hub.cut:
            self.hub.cuts -= 1
            self._cut(content)
        else:
            self.wfile.write(content)

    def _cut(self, content: bytes) -> None:
        self.wfile.write(content[: self.hub.cut])
        self.wfile.flush()
        self.close_connection = True
        if self.hub.hold is not None:
            self.hub.held.set()
            self.hub.hold.wait(60)

    def _error(self, status: int, code: str) -> None:
        self._send(status, {"x-error-code": code, "x-error-message": code} if code else {})
