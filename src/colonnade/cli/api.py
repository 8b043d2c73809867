"""A small HTTP client for commands: JSON and event streams over one connection, errors as our own tree.

Blocking, and nothing but the standard library: importing a full client costs more than most commands take.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from colonnade.wire import errors
from colonnade.wire.answer import error_of as from_answer
from colonnade.wire.answer import of_envelope as from_envelope
from colonnade.wire.errors import ColonnadeError
from colonnade.wire.stream import Event, EventReader

__all__ = ["Api", "from_answer", "from_envelope"]


@dataclass(frozen=True, slots=True)
class Api:
    """`url` without a path; `token`: API key or admin token, empty for none; `timeout` of each read, in seconds."""

    url: str
    token: str = ""
    timeout: float = 60.0

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON, None where it has none. Raises the error that the answer stands for."""
        connection, answer = self._send(method, path, body)
        try:
            data = answer.read()
        except (OSError, http.client.HTTPException) as cause:
            raise self._lost(cause) from cause
        finally:
            connection.close()
        if answer.status >= 400:
            raise from_answer(answer.status, data)
        return msgspec.json.decode(data) if data else None

    def stream(self, path: str, body: object) -> Iterator[Event]:
        """The events of a streamed answer, until its end; closing the iterator closes the connection."""
        connection, answer = self._send("POST", path, body)
        try:
            if answer.status >= 400:
                raise from_answer(answer.status, answer.read())
            reader = EventReader()
            while chunk := answer.read1(65536):
                yield from reader.feed(chunk)
        except (OSError, http.client.HTTPException) as cause:
            raise self._lost(cause) from cause
        finally:
            connection.close()

    def _send(
        self, method: str, path: str, body: object
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self.timeout)
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        try:
            connection.request(
                method, parts.path.rstrip("/") + path, msgspec.json.encode(body) if body else None, headers
            )
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as cause:
            connection.close()
            raise self._lost(cause) from cause

    def _lost(self, cause: Exception) -> ColonnadeError:
        if isinstance(cause, TimeoutError):
            return errors.DeadlineExceeded(f"{self.url} sent nothing for {self.timeout:.0f} s")
        if isinstance(cause, ConnectionRefusedError):
            return errors.SetupError(
                f"nothing answers at {self.url}", hint="`colonnade up` starts it", code="not_running"
            )
        return errors.ReplicaLost(f"the connection to {self.url} broke: {cause or type(cause).__name__}")
