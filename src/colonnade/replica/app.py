"""The replica's endpoints, as one ASGI application."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
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
from colonnade.replica.face import Face
from colonnade.replica.generation import Generation
from colonnade.replica.identity import Identity
from colonnade.replica.intake import Intake, Taken
from colonnade.replica.metrics import CONTENT_TYPE
from colonnade.replica.past import replay_length, split
from colonnade.wire.errors import CapacityError, ColonnadeError, Internal, MethodNotAllowed, NotFound
from colonnade.wire.replay import HEADER, Replay

_log = logging.getLogger(__name__)

JSON = (b"content-type", b"application/json")

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/v1/chat/completions", "Answer a conversation, whole or as a stream."),
    ("POST", "/v1/completions", "Go on from a prompt, whole or as a stream."),
    ("POST", "/v1/messages", "Answer a conversation in Anthropic's form, whole or as a stream."),
    ("POST", "/v1/messages/count_tokens", "How many tokens its prompt has."),
    ("GET", "/v1/models", "The model that is served, with its facts."),
    ("GET", "/v1/models/{model}", "The same for one name."),
    ("GET", "/live", "200 while the process answers."),
    ("GET", "/ready", "200 when requests are taken, else 503 with phase and reason."),
    ("GET", "/health", "Progress: 503 when work is in flight and the engine makes no steps."),
    ("GET", "/metrics", "Prometheus metrics."),
    ("GET", "/snapshot", "The whole of what the pushed events add up to, at a sequence number."),
)


MODELS = "/v1/models/"
COUNT = "/v1/messages/count_tokens"
_READERS: dict[str, tuple[Callable[[Intake, bytes, Identity], Awaitable[Taken]], str]] = {
    "/v1/chat/completions": (Intake.chat, "chat"),
    "/v1/completions": (Intake.completion, "completions"),
    "/v1/messages": (Intake.message, "messages"),
}
"""What reads a body, and the endpoint's name in the metrics."""
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
        if expected == "POST":
            with self._face.exchange():
                await self._generate()
        elif self._path == "/metrics":
            content = (b"content-type", CONTENT_TYPE.encode())
            await respond(self._send, 200, self._face.metrics.page(), [content])
        else:
            status, page = self._app.page(self._path)
            await respond(self._send, status, msgspec.json.encode(page), [JSON, *self._labels()])

    async def _generate(self) -> None:
        length = replay_length(self._headers.get(HEADER.lower(), ""))
        declared = self._headers.get("content-length", "")
        sent = await read_body(self._receive, declared, self._face.http, before=length)
        replay, body = split(sent, length)
        identity = self._face.identify(self._headers)
        self._request_id = identity.request_id
        if self._path == COUNT:
            await self._count(body, identity)
            return
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

    async def _count(self, body: bytes, identity: Identity) -> None:
        counted = await self._face.open_for_work().count(body, identity)
        self._warnings = counted.warnings
        page = msgspec.json.encode({"input_tokens": counted.tokens})
        await respond(self._send, 200, page, [JSON, *self._labels()])

    async def _begin(self, body: bytes, identity: Identity, replay: Replay | None) -> Generation:
        intake = self._face.open_for_work()
        read, endpoint = _READERS[self._path]
        try:
            taken = await read(intake, body, identity)
        except ColonnadeError as error:
            self._face.metrics.requests.labels(endpoint, error.reason).inc()
            raise
        self._warnings = taken.warnings
        return self._face.begin(taken, identity, endpoint, replay)

    async def _stream(self, generation: Generation, offset: int) -> None:
        headers = [*EVENT_STREAM, *self._labels()]
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
            await respond(self._send, 200, body, [JSON, *self._labels()])

    def _reader(self, generation: Generation) -> Reader:
        return Reader(self._receive, self._send, generation.spool, self._face.settings.keep_alive)

    async def _refuse(self, error: ColonnadeError) -> None:
        body = msgspec.json.encode(error.enveloped(self._path, self._request_id))
        headers = [JSON, *self._labels()]
        if isinstance(error, CapacityError):
            headers.append((b"retry-after", b"1"))
        await respond(self._send, error.status, body, headers)

    def _labels(self) -> Headers:
        face = self._face
        labels = [(b"colonnade-epoch", face.epoch)]
        if face.loaded_facts is not None:
            labels.append((b"colonnade-fingerprint", face.loaded_facts.fingerprint))
        if self._request_id:
            labels += [(b"colonnade-request-id", self._request_id), (b"x-request-id", self._request_id)]
        labels += [(b"colonnade-warning", warning) for warning in self._warnings]
        return [(name, value.encode("latin-1", "replace")) for name, value in labels]
