"""Connections to replicas: one request at a time on each, kept open for the next."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import httptools

from colonnade.wire.errors import BadSetting


class Receiver(Protocol):
    """Who waits for the answer on a connection."""

    def on_answer(self, upstream: Upstream) -> None:
        """Bytes came in: `upstream` says what is there by now. Called once for each read."""
        ...

    def on_lost(self, upstream: Upstream, reason: str) -> None:
        """The connection ended, or makes no sense, before the answer did."""
        ...


class Upstream(asyncio.Protocol):
    """One connection. `send` a request; read `status`, `headers`, `take()`, `ended` whenever `on_answer` is called."""

    __slots__ = (
        "_parser",
        "_parts",
        "_paused",
        "_pool",
        "_receiver",
        "_reusable",
        "_until_close",
        "dead",
        "ended",
        "head_seen",
        "headers",
        "heard_at",
        "served",
        "status",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._receiver: Receiver | None = None
        self._parts: list[bytes] = []
        self._reusable = False
        self._until_close = False
        self._paused = False
        self._parser: Any = None
        self.dead = False
        self.served = 0
        """Requests sent on it, the present one included."""
        self.heard_at = 0.0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_seen = False
        self.ended = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._parser = httptools.HttpResponseParser(self)

    def send(self, receiver: Receiver, request: bytes, body: bytes, now: float) -> None:
        self._receiver = receiver
        self.served += 1
        self.heard_at = now
        self.head_seen = self.ended = False
        self._parts = []
        self.transport.write(request + body if len(body) < 65536 else request)
        if len(body) >= 65536:
            self.transport.write(body)

    def pause(self) -> None:
        self._paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        self._paused = False
        self.transport.resume_reading()

    def take(self) -> bytes:
        """The body's bytes since the last call."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def peek(self) -> bytes:
        """The same, left there."""
        self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def drop(self) -> None:
        """Close at once: this is how a replica learns that nobody waits any more."""
        self._receiver = None
        self.dead = True
        self.transport.abort()

    def hand_to(self, receiver: Receiver) -> None:
        """What is there and what follows is another's."""
        self._receiver = receiver

    def done(self) -> None:
        """The answer was taken whole: keep the connection for another request, if it can be."""
        self._receiver = None
        if self._reusable and not self.dead:
            if self._paused:
                self.resume()
            self._pool.keep(self)
        else:
            self.drop()

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:  # bytes that nobody asked for
            self.drop()
            return
        self.heard_at = self._pool.now()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lose(f"it does not speak HTTP: {error}")
            return
        receiver.on_answer(self)

    def on_message_begin(self) -> None:
        if self.ended:
            raise _SecondAnswer  # the parser makes an HttpParserError of it
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_seen:  # trailers are dropped
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self.head_seen = True
            self._reusable = self._parser.should_keep_alive()
            self._until_close = not self._reusable

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self.ended = self.head_seen

    def connection_lost(self, exc: Exception | None) -> None:
        self.dead = True
        self._pool.forget(self)
        self._parser = None  # it holds bound methods of ours: a circle
        if self._receiver is None:
            return
        if exc is None and self.head_seen and self._ends_by_closing():
            self.ended = True
            self._receiver.on_answer(self)
        else:
            self._lose("the connection was closed" if exc is None else f"the connection broke: {exc}")

    def _ends_by_closing(self) -> bool:
        framed = {b"content-length", b"transfer-encoding"}
        return self._until_close and not any(name.lower() in framed for name, _ in self.headers)

    def _lose(self, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        self.dead = True
        self.transport.abort()
        if receiver is not None:
            receiver.on_lost(self, reason)

    def eof_received(self) -> None:
        self.dead = True
        self._pool.forget(self)


class _SecondAnswer(Exception):
    """Two answers to one request: nobody can say which belongs to whom."""


class Pool:
    """The connections to one replica. The one used last is used next, so that the others grow old and are closed."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise BadSetting(f"{url!r} is not the URL of a replica", hint="write it as http://HOST:PORT")
        self.host = parts.hostname
        self.port = parts.port or 80
        self.authority = parts.netloc.encode("ascii")
        self.now = loop.time
        self._loop = loop
        self._idle: deque[tuple[float, Upstream]] = deque()
        self.closed = False

    @property
    def idle(self) -> int:
        return len(self._idle)

    def take(self) -> Upstream | None:
        """A connection that is open and free."""
        while self._idle:
            upstream = self._idle.pop()[1]
            if not upstream.dead and not upstream.transport.is_closing():
                return upstream
        return None

    async def connect(self) -> Upstream:
        """A new one. Raises OSError."""
        _, upstream = await self._loop.create_connection(lambda: Upstream(self), self.host, self.port)
        return upstream

    def keep(self, upstream: Upstream) -> None:
        if self.closed:
            upstream.drop()
        else:
            self._idle.append((self.now(), upstream))

    def forget(self, upstream: Upstream) -> None:
        kept = [pair for pair in self._idle if pair[1] is not upstream]
        if len(kept) != len(self._idle):
            self._idle = deque(kept)

    def trim(self, oldest: float) -> None:
        """Close what has been idle since before `oldest`."""
        while self._idle and self._idle[0][0] < oldest:
            self._idle.popleft()[1].drop()

    def close(self) -> None:
        """Close what is idle now, and the rest as it ends."""
        self.closed = True
        self.trim(float("inf"))
