"""One request to a replica and its answer: route, read, generate, refuse."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from colonnade.replica.changing import Change
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
from colonnade.replica.order import Version
from colonnade.replica.past import replay_length, split
from colonnade.wire.errors import CapacityError, ColonnadeError, Internal, MethodNotAllowed
from colonnade.wire.replay import HEADER, Replay

_log = logging.getLogger(__name__)

JSON = (b"content-type", b"application/json")

Action = Callable[[bytes, Identity], Awaitable[tuple[Any, list[str]]]]
"""From a body to what is said as JSON, and warnings."""

READERS: dict[str, tuple[Callable[[Intake, bytes, Identity], Awaitable[Taken]], str]] = {
    "/v1/chat/completions": (Intake.chat, "chat"),
    "/v1/completions": (Intake.completion, "completions"),
    "/v1/messages": (Intake.message, "messages"),
    "/generate": (Intake.generate, "generate"),
    "/v1/embeddings": (Intake.embedding, "embeddings"),
    "/score": (Intake.score, "score"),
    "/v1/score": (Intake.score, "score"),
}
"""What reads a body, and the endpoint's name in the metrics."""


PROBED = "/health_generate"
PROBE = b'{"input_ids": [1], "sampling_params": {"max_new_tokens": 1, "temperature": 0, "ignore_eos": true}}'


class Pages(Protocol):
    """What a replica says that is no generation."""

    methods: Mapping[str, str]
    actions: Mapping[str, Action]
    changes: Mapping[str, Change]

    def page(self, path: str) -> tuple[int, Any]:
        """Raises NotFound."""
        ...


class Exchange:
    """`run` it; it never raises."""

    def __init__(self, face: Face, app: Pages, scope: Message, receive: Receive, send: Send) -> None:
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
        expected = self._app.methods.get(self._path, "GET")
        method = "GET" if self._method == "HEAD" else self._method
        if method != expected:
            raise MethodNotAllowed(f"{self._path} takes {expected}", hint=f"use {expected}")
        if (change := self._app.changes.get(self._path)) is not None:
            await self._change(change)
        elif expected == "POST":
            with self._face.exchange():
                await (self._act(action) if (action := self._app.actions.get(self._path)) else self._generate())
        elif self._path == PROBED:
            with self._face.exchange():
                await self._probe()
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

    async def _act(self, action: Action) -> None:
        body = await read_body(self._receive, self._headers.get("content-length", ""), self._face.http)
        identity = self._face.identify(self._headers)
        self._request_id = identity.request_id
        said, self._warnings = await action(body, identity)
        await respond(self._send, 200, msgspec.json.encode(said), [JSON, *self._labels()])

    async def _change(self, change: Change) -> None:
        """It is none of the exchanges that it waits for."""
        body = await read_body(self._receive, self._headers.get("content-length", ""), self._face.http)
        said = await change(body, self._query)
        await respond(self._send, 200, msgspec.json.encode(said), [JSON, *self._labels()])

    async def _probe(self) -> None:
        """Compute a token."""
        identity = self._face.identify({})
        await self._whole(
            self._face.begin(await self._face.open_for_work().generate(PROBE, identity), identity, "probe")
        )

    async def _begin(self, body: bytes, identity: Identity, replay: Replay | None) -> Generation:
        intake = self._face.open_for_work()
        read, endpoint = READERS[self._path]
        try:
            taken = await read(intake, body, identity)
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
        body = msgspec.json.encode(error.enveloped(self._path, self._request_id))
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
