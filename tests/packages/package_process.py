"""A package in a process of its own, and a client that shows everything of an answer."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FOLDERS = Path(__file__).parent / "folders"


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fault(self) -> tuple[str | None, str | None]:
        return self.headers.get("x-baseten-error-source"), self.headers.get("x-baseten-error-code")


class Process:
    def __init__(self, package: Path, *options: str, **environment: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "colonnade.replica.package", "--package", str(package), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
        )
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        self.announced: dict[str, Any] = json.loads(line) if line else {}

    def connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.announced["url"])
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)

    def ask(self, method: str, path: str, body: bytes | Any = None, **headers: str) -> Answer:
        """A body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self.connect()
        try:
            connection.request(method, path, data, named)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def predict(self, inputs: Any, **headers: str) -> Answer:
        return self.ask("POST", "/v1/models/model:predict", inputs, **headers)

    def until(self, path: str, status: int) -> Answer:
        """Asks until it says so; the test's own time limit ends it."""
        while (answer := self.ask("GET", path)).status != status:
            continue
        return answer

    def stop(self) -> tuple[int, str]:
        """Exit code, and what it said on stderr."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        _, said = self.child.communicate(timeout=20)
        return self.child.returncode, said.decode()
