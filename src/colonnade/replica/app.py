"""The replica's endpoints, as one ASGI application."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

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
from colonnade.replica.face import Face
from colonnade.replica.generation import Generation
from colonnade.replica.identity import Identity
from colonnade.replica.metrics import CONTENT_TYPE
from colonnade.replica.order import Version
from colonnade.replica.past import replay_length, split
from colonnade.wire.errors import CapacityError, ColonnadeError, Internal, InvalidRequest, MethodNotAllowed, NotFound
from colonnade.wire.replay import HEADER, Replay

_log = logging.getLogger(__name__)

JSON = (b"content-type", b"application/json")

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/v1/chat/completions", "Answer a conversation, whole or as a stream."),
    ("POST", "/v1/completions", "Go on from a prompt, whole or as a stream."),
    ("GET", "/v1/models", "The model that is served, with its facts."),
    ("GET", "/v1/models/{model}", "The same for one name."),
    ("GET", "/live", "200 while the process answers."),
    ("GET", "/ready", "200 when requests are taken, else 503 with phase and reason."),
    ("GET", "/health", "Progress: 503 when work is in flight and the engine makes no steps."),
    ("GET", "/metrics", "Prometheus metrics."),
    ("POST", "/update_weights_from_disk", "Compute with other weights of the same model, without a restart."),
    ("POST", "/sleep", "Give the memory of keys and values back, at level 2 that of the weights, too."),
    ("POST", "/wake_up", "Take requests again after /sleep."),
    ("GET", "/is_sleeping", "Whether it sleeps."),
    ("GET", "/snapshot", "The whole of what the pushed events add up to, at a sequence number."),
)


MODELS = "/v1/models/"
_CHANGES: dict[str, tuple[str, ...]] = {
    "/update_weights_from_disk": (),
    "/sleep": ("level", "timeout"),
    "/wake_up": (),
}
"""Endpoints that change what is in memory, and the parameters in their query."""
_METHODS = {path: method for method, path, _ in ROUTES}


class App:
    """Every ColonnadeError becomes the one envelope; anything else is a 500 in the same envelope, and is logged."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._pages: dict[str, Callable[[], tuple[int, Any]]] = {
            "/v1/models": lambda: (200, {"object": "list", "data": [face.model_card()]}),
            "/live": lambda: (200, {"live": True, "epoch": face.epoch}),
            "/ready": self._ready,
            "/health": self._health,
            "/is_sleeping": lambda: (200, {"is_sleeping": face.caretaker.level > 0}),
            "/snapshot": lambda: (200, face.snapshot()),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self._face, self, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    def page(self, path: str) -> tuple[int, Any]:
        """Status and body of a GET that tells about the replica. Raises NotFound."""
        if path.startswith(MODELS):
            return 200, self._model(path.removeprefix(MODELS))
        page = self._pages.get(path)
        if page is None:
            raise NotFound(f"no such path: {path}", hint="see docs/api.md")
        return page()

    def _model(self, name: str) -> dict[str, object]:
        if name != self._face.model.name:
            raise NotFound(f"model {name!r} is not served here", code="model_not_found", hint="see /v1/models")
        return self._face.model_card()

    def _ready(self) -> tuple[int, Any]:
        face = self._face
        if face.phase.name == "ready" and face.stalled():
            return 503, {"ready": False, "phase": "stalled", "reason": "no engine step while work is in flight"}
        ready = face.phase.name == "ready"
        return 200 if ready else 503, {"ready": ready, "phase": face.phase.name, "reason": face.phase.reason}

    def _health(self) -> tuple[int, Any]:
        return 503 if self._face.stalled() or self._face.phase.name == "failed" else 200, self._face.health()


class _Exchange:
    """One request and its answer."""

    def __init__(self, face: Face, app: App, scope: Message, receive: Receive, send: Send) -> None:
        self._face = face
        self._app = app
        self._receive = receive
        self._send = send
        self._method: str = scope["method"]
        self._path: str = scope["path"]
        self._query: str = scope["query_string"].decode("latin-1")
        self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._request_id = ""
        self._warnings: list[str] = []

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
        expected = _METHODS.get(self._path, "GET")
        method = "GET" if self._method == "HEAD" else self._method
        if method != expected:
            raise MethodNotAllowed(f"{self._path} takes {expected}", hint=f"use {expected}")
        if self._path in _CHANGES:
            await self._change()
        elif expected == "POST":
            with self._face.exchange():
                await self._generate()
        elif self._path == "/metrics":
            content = (b"content-type", CONTENT_TYPE.encode())
            await respond(self._send, 200, self._face.metrics.page(), [content])
        else:
            status, page = self._app.page(self._path)
            await respond(self._send, status, msgspec.json.encode(page), [JSON, *self._labels()])

    async def _change(self) -> None:
        caretaker, done = self._face.caretaker, {"success": True}
        body = await read_body(self._receive, self._headers.get("content-length", ""), self._face.http)
        asked = self._asked()
        if self._path == "/update_weights_from_disk":
            done = await caretaker.update(body)
        elif self._path == "/sleep":
            await caretaker.sleep(*asked)
        else:
            await caretaker.wake()
        await respond(self._send, 200, msgspec.json.encode(done), [JSON, *self._labels()])

    def _asked(self) -> tuple[int, float | None]:
        """Level and timeout, of the query. Raises InvalidRequest."""
        sent = dict(parse_qsl(self._query, keep_blank_values=True))
        known = _CHANGES[self._path]
        if strange := sent.keys() - known:
            raise InvalidRequest(f"unknown parameter {min(strange)}", hint=f"known: {', '.join(known) or 'none'}")
        level, seconds = sent.get("level", "1"), sent.get("timeout", "")
        if level not in ("1", "2") or not re.fullmatch(r"[0-9]{0,4}", seconds):
            raise InvalidRequest("level is 1 or 2, timeout a whole number of seconds", param="level")
        return int(level), float(seconds) if seconds else None

    async def _generate(self) -> None:
        length = replay_length(self._headers.get(HEADER.lower(), ""))
        declared = self._headers.get("content-length", "")
        sent = await read_body(self._receive, declared, self._face.http, before=length)
        replay, body = split(sent, length)
        identity = self._face.identify(self._headers)
        self._request_id = identity.request_id
        digest = hashlib.sha256(self._path.encode() + b"\0" + body).digest()
        if identity.goes_on:
            generation, offset = self._face.streams.resume(identity, digest)
            await self._stream(generation, offset)
            return
        generation = await self._begin(body, identity, replay)
        if not generation.order.stream:
            await self._whole(generation)
            return
        if identity.resume:
            self._face.streams.keep(generation, digest)
        await self._stream(generation, 0)

    async def _begin(self, body: bytes, identity: Identity, replay: Replay | None) -> Generation:
        intake = self._face.open_for_work()
        read: Callable[[bytes, Identity], Awaitable[Any]]
        read, endpoint = (
            (intake.chat, "chat") if self._path == "/v1/chat/completions" else (intake.completion, "completions")
        )
        try:
            taken = await read(body, identity)
        except ColonnadeError as error:
            self._face.metrics.requests.labels(endpoint, error.reason).inc()
            raise
        self._warnings = taken.warnings
        return self._face.begin(taken, identity, endpoint, replay)

    async def _stream(self, generation: Generation, offset: int) -> None:
        headers = [*EVENT_STREAM, *self._labels(generation.version)]
        reader = self._reader(generation)
        try:
            async with reader:
                await reader.stream(headers, offset)
        finally:
            if not reader.replaced:
                self._face.streams.detach(generation)
        if generation.error is not None and not generation.spool.begun:
            raise generation.error

    async def _whole(self, generation: Generation) -> None:
        try:
            async with self._reader(generation) as reader:
                body = await reader.whole()
        finally:
            generation.cancel()
        if generation.error is not None:
            raise generation.error
        if body is not None:
            await respond(self._send, 200, body, [JSON, *self._labels(generation.version)])

    def _reader(self, generation: Generation) -> Reader:
        return Reader(self._receive, self._send, generation.spool, self._face.settings.keep_alive)

    async def _refuse(self, error: ColonnadeError) -> None:
        body = msgspec.json.encode(error.envelope(self._request_id))
        headers = [JSON, *self._labels()]
        if isinstance(error, CapacityError):
            headers.append((b"retry-after", b"1"))
        await respond(self._send, error.status, body, headers)

    def _labels(self, version: Version | None = None) -> Headers:
        """`version`: that of the answer, where it is not the present one."""
        face, version = self._face, version or self._face.version
        labels = [(b"colonnade-epoch", face.epoch)]
        if version.fingerprint:
            labels.append((b"colonnade-fingerprint", version.fingerprint))
            labels.append((b"colonnade-weight-version", version.label))
        if self._request_id:
            labels += [(b"colonnade-request-id", self._request_id), (b"x-request-id", self._request_id)]
        labels += [(b"colonnade-warning", warning) for warning in self._warnings]
        return [(name, value.encode("latin-1", "replace")) for name, value in labels]
