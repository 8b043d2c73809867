"""The endpoints of a replica whose engine is another's server, as one ASGI application."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from colonnade.replica.connection import (
    EVENT_STREAM,
    Disconnected,
    Headers,
    Message,
    Reader,
    Receive,
    Send,
    read_body,
    respond,
)
from colonnade.replica.foreign.asking import refuse
from colonnade.replica.foreign.face import ForeignFace
from colonnade.replica.foreign.relay import Relay
from colonnade.replica.foreign.telling import PREFIXES
from colonnade.replica.metrics import CONTENT_TYPE
from colonnade.wire.errors import CapacityError, ColonnadeError, Internal, MethodNotAllowed, NotFound
from colonnade.wire.replay import HEADER

_log = logging.getLogger(__name__)
_JSON = (b"content-type", b"application/json")
_MODELS = "/v1/models/"


class ForeignApp:
    def __init__(self, face: ForeignFace) -> None:
        self._face = face
        self._pages: dict[str, Callable[[], tuple[int, Any]]] = {
            "/v1/models": lambda: (200, {"object": "list", "data": [face.model_card()]}),
            "/live": lambda: (200, {"live": True, "epoch": face.epoch}),
            "/ready": self._ready,
            "/health": self._health,
            "/snapshot": lambda: (200, face.snapshot()),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self._face, self.page, scope, receive, send).run()

    def page(self, path: str) -> tuple[int, Any]:
        """Status and body of a GET. Raises NotFound."""
        if path.startswith(_MODELS):
            return 200, self._model(path.removeprefix(_MODELS))
        if (page := self._pages.get(path)) is None:
            raise NotFound(f"no such path: {path}", hint="docs/foreign-engines.md lists them")
        return page()

    def _model(self, name: str) -> dict[str, object]:
        if name != self._face.name:
            raise NotFound(f"model {name!r} is not served here", code="model_not_found", hint="see /v1/models")
        return self._face.model_card()

    def _ready(self) -> tuple[int, Any]:
        face = self._face
        if face.phase.name == "ready" and face.stalled():
            return 503, {
                "ready": False,
                "phase": "stalled",
                "reason": "work is in flight and nothing moves",
            }
        ready = face.phase.name == "ready"
        return 200 if ready else 503, {"ready": ready, "phase": face.phase.name, "reason": face.phase.reason}

    def _health(self) -> tuple[int, Any]:
        return 503 if self._face.stalled() or self._face.phase.name == "failed" else 200, self._face.health()


class _Exchange:
    """`run` it; it never raises."""

    def __init__(
        self,
        face: ForeignFace,
        page: Callable[[str], tuple[int, Any]],
        scope: Message,
        receive: Receive,
        send: Send,
    ) -> None:
        self._face = face
        self._page = page
        self._receive = receive
        self._send = send
        self._method: str = scope["method"]
        self._path: str = scope["path"]
        self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._request_id = ""

    async def run(self) -> None:
        try:
            await self._route()
        except Disconnected:
            _log.debug("the client went before its request was whole: %s", self._path)
        except ColonnadeError as error:
            await self._refuse(error)
        except Exception:
            _log.exception("%s %s failed", self._method, self._path)
            await self._refuse(Internal("something went wrong here", hint="the replica's log says what"))

    async def _route(self) -> None:
        expected = "POST" if self._path in PREFIXES else "GET"
        if ("GET" if self._method == "HEAD" else self._method) != expected:
            raise self._unfit(expected)
        if expected == "POST":
            with self._face.exchange():
                await self._relay()
        elif self._path == "/metrics":
            content = (b"content-type", CONTENT_TYPE.encode())
            await respond(self._send, 200, self._face.metrics.page(), [content])
        else:
            status, page = self._page(self._path)
            await respond(self._send, status, msgspec.json.encode(page), [_JSON, *self._labels()])

    def _unfit(self, expected: str) -> ColonnadeError:
        if self._method == "POST":
            hint = f"it has {' and '.join(PREFIXES)}"
            return NotFound(f"another engine's server is behind this replica: no {self._path} here", hint=hint)
        return MethodNotAllowed(f"{self._path} takes {expected}", hint=f"use {expected}")

    async def _relay(self) -> None:
        face = self._face
        if self._headers.get(HEADER.lower()):
            refuse(face.server.kind, "resume", HEADER)
        body = await read_body(self._receive, self._headers.get("content-length", ""), face.http)
        identity = face.identify(self._headers)
        self._request_id = identity.request_id
        digest = hashlib.sha256(self._path.encode() + b"\0" + body).digest()
        if identity.goes_on:
            await self._stream(*face.streams.resume(identity, digest))
            return
        relay = face.begin(self._path, body, identity)
        if not relay.asked.stream:
            await self._whole(relay)
            return
        if identity.resume:
            face.streams.keep(relay, digest)
        await self._stream(relay, 0)

    async def _stream(self, relay: Relay, offset: int) -> None:
        reader = self._reader(relay)
        try:
            async with reader:
                await reader.stream([*EVENT_STREAM, *self._labels()], offset)
        finally:
            if not reader.replaced:
                self._face.streams.detach(relay)
        if relay.error is not None and not relay.spool.begun:
            raise relay.error

    async def _whole(self, relay: Relay) -> None:
        try:
            async with self._reader(relay) as reader:
                body = await reader.whole()
        finally:
            relay.cancel()
        if relay.error is not None:
            raise relay.error
        if body is not None:
            await respond(self._send, 200, body, [_JSON, *self._labels()])

    def _reader(self, relay: Relay) -> Reader:
        return Reader(self._receive, self._send, relay.spool, self._face.settings.keep_alive)

    async def _refuse(self, error: ColonnadeError) -> None:
        body = msgspec.json.encode(error.enveloped(self._path, self._request_id))
        headers = [_JSON, *self._labels()]
        if isinstance(error, CapacityError):
            headers.append((b"retry-after", b"1"))
        await respond(self._send, error.status, body, headers)

    def _labels(self) -> Headers:
        """No fingerprint: what another engine computes with is not known, and no replica can go on for another."""
        labels = [(b"colonnade-epoch", self._face.epoch.encode())]
        if self._request_id:
            named = self._request_id.encode("latin-1", "replace")
            labels += [(b"colonnade-request-id", named), (b"x-request-id", named)]
        return labels
