"""Connections of clients: requests come in whole and one after the other, answers go out at the client's pace."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import httptools

from colonnade.gateway.admission import Badge, request_id
from colonnade.gateway.answers import Local
from colonnade.gateway.endpoints import RELAYED, named_in
from colonnade.gateway.exchange import Exchange
from colonnade.gateway.http1 import CONTINUE, Head, bad_framing, error_answer, read_head
from colonnade.gateway.plane import Plane
from colonnade.gateway.repeat import Repeat, learn
from colonnade.wire.errors import (
    BodyTooLarge,
    ColonnadeError,
    InvalidRequest,
    Overloaded,
    RequestTimeout,
)

NEVER = float("inf")
LINGER = 2.0
"""Seconds in which a refused client may read its refusal before the connection is closed: closing over bytes that were
not read would reset the connection, and the refusal might be lost."""


Request = tuple[Head, bytes, bool]
"""Head, body, and whether the connection may be kept after it."""


class ClientSide(asyncio.Protocol):
    """One connection. `_current` is what is being answered; what a client sends ahead waits in `_queue`."""

    __slots__ = (
        "_body",
        "_current",
        "_deadline",
        "_fed",
        "_head",
        "_headers",
        "_held",
        "_known",
        "_open",
        "_parser",
        "_plane",
        "_pumping",
        "_queue",
        "_received",
        "_refusal",
        "_target",
        "_transport",
        "badge",
        "paused",
        "peer",
    )

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._current: Exchange | Local | None = None
        self._queue: deque[Request] = deque()
        self._refusal: ColonnadeError | None = None
        self._deadline = NEVER
        self._open = False  # a request has begun to come in
        self._pumping = False
        self._held = False  # reading is paused
        self._fed = self._received = 0
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: Head | None = None
        self._known: Repeat | None = None
        self._body: list[bytes] = []
        self._parser: Any = None
        self._transport: asyncio.Transport
        self.badge = Badge()
        self.paused = False
        self.peer = ""

    @property
    def busy(self) -> bool:
        return self._current is not None or self._open or bool(self._queue)

    # --- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plane = self._plane
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._parser = httptools.HttpRequestParser(self)
        self.peer = (self._transport.get_extra_info("peername") or ("",))[0]
        self._transport.set_write_buffer_limits(high=plane.limits.unread)
        self._deadline = plane.now() + plane.http.request_timeout
        if len(plane.clients) >= plane.limits.connections:
            self._refuse(Overloaded(f"{plane.limits.connections} connections are open", hint="try again in a second"))
        plane.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._plane.gone(self)
        self._parser = None  # it holds bound methods of ours: a circle
        self._queue.clear()
        current, self._current = self._current, None
        if current is not None:
            current.leave()

    def pause_writing(self) -> None:
        self.paused = True
        self._deadline = self._plane.now() + self._plane.limits.unsent
        if self._current is not None:
            self._current.pause()

    def resume_writing(self) -> None:
        self.paused = False
        self._rest()
        if self._current is not None:
            self._current.resume()

    def _rest(self) -> None:
        """Set the time by which the client must have done something."""
        http, now = self._plane.http, self._plane.now()
        if self.paused:
            return
        if self._current is not None:
            self._deadline = NEVER
        elif self._refusal is not None:
            self._deadline = now + LINGER
        else:
            self._deadline = now + (http.request_timeout if self._open else http.idle_timeout)

    def abort(self) -> None:
        self._transport.abort()

    def leave(self) -> None:
        if not self.busy:
            self._transport.close()

    def cut(self) -> None:
        if self._current is not None:
            self._current.cut()
        else:
            self._transport.abort()

    def check(self, now: float) -> None:
        if now > self._deadline:
            self._late()
        elif self._current is not None:
            self._current.check(now)

    def _late(self) -> None:
        if self.paused or self._refusal is not None:
            self._transport.abort()
        elif self._current is not None:
            self._deadline = NEVER  # a request sent ahead; its time begins when it is its turn
        elif self._open:
            seconds = self._plane.http.request_timeout
            self._refuse(RequestTimeout(f"the request did not arrive whole within {seconds:g} s"))
        else:
            self._transport.close()

    # --- requests come in

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        if self._known is not None and self._current is None and not self._open and not self._queue:
            body = self._known.body(data)
            if body is not None and len(body) <= self._plane.http.body_limit:
                self._deadline = NEVER if not self.paused else self._deadline
                self._queue.append((self._known.head, body, self._known.keep))
                self._pump()
                return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        alone = not self._open and not self._queue
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refusal = self._refusal or bad_framing("this connection cannot be upgraded")
        except httptools.HttpParserError as error:
            self._refusal = self._refusal or bad_framing(f"this is not HTTP/1.1: {error}")
        if self._open and self._head is None and self._fed > self._plane.limits.head:
            self._refusal = self._refusal or self._head_too_large()
        if alone and not self._open and self._refusal is None and len(self._queue) == 1:
            self._known = learn(data, *self._queue[0])
        if self._queue or self._refusal is not None:
            self._pump()

    def on_message_begin(self) -> None:
        self._open = True
        self._target = b""
        self._headers = []
        self._head = None
        self._body = []
        self._received = 0
        if not self.paused:
            self._deadline = self._plane.now() + self._plane.http.request_timeout
        if len(self._queue) >= self._plane.limits.pipelined:
            self._refusal = self._refusal or InvalidRequest("too many requests sent ahead", code="too_many_pipelined")

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is None:  # trailers are dropped
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._refusal is not None:
            return
        parser = self._parser
        if self._fed > self._plane.limits.head:
            size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)
            if size > self._plane.limits.head:
                self._refusal = self._head_too_large()
                return
        try:
            if parser.should_upgrade():
                raise bad_framing("this connection cannot be upgraded")
            head = read_head(parser.get_method(), self._target, parser.get_http_version(), self._headers)
        except InvalidRequest as error:
            self._refusal = error
            return
        self._head = head
        if head.length is not None and head.length > self._plane.http.body_limit:
            self._refusal = self._body_too_large()
        elif head.expects and not self._queue and self._current is None:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        if self._received > self._plane.http.body_limit:
            self._refusal = self._refusal or self._body_too_large()
        if self._refusal is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._open = False
        if self._refusal is not None:
            return
        assert self._head is not None
        keep = self._parser.should_keep_alive() and not self._head.old
        body = self._body
        self._queue.append((self._head, body[0] if len(body) == 1 else b"".join(body), keep))
        self._body = []
        self._fed = 0
        if not self.paused:
            self._deadline = NEVER

    def _head_too_large(self) -> InvalidRequest:
        limit = self._plane.limits.head
        return InvalidRequest(f"the request's head is larger than {limit} bytes", code="head_too_large")

    def _body_too_large(self) -> BodyTooLarge:
        limit = self._plane.http.body_limit
        return BodyTooLarge(f"the body is larger than {limit} bytes", hint="http.body_limit (--body-limit) is the knob")

    # --- answers go out

    def _pump(self) -> None:
        """Answer what came in, in order; a loop, since answers may be there at once."""
        if self._pumping:
            return
        self._pumping = True
        while self._current is None:
            if self._transport.is_closing():
                break
            if self._queue:
                self._serve(*self._queue.popleft())
            elif self._refusal is not None:
                self._refuse(self._refusal)
                break
            else:
                break
        self._pumping = False
        if self._current is not None and self._queue:
            self._held = True
            self._transport.pause_reading()

    def _serve(self, head: Head, body: bytes, keep: bool) -> None:
        keep = keep and not self._plane.draining
        named = None if (head.method, head.path) in RELAYED else named_in(head.method, head.path)
        if named is not None or (head.method, head.path) in RELAYED:
            self._current = Exchange(self._plane, self, head, body, named, keep=keep)
        else:
            self._current = Local(self._plane, self, head, keep=keep)
        self._current.begin()

    def _refuse(self, error: ColonnadeError) -> None:
        """Answer with the error and close: after it, nothing that comes in can be trusted to be a request."""
        self._refusal = error
        self._queue.clear()
        self._plane.stats.refused[error.reason] += 1
        self._transport.write(error_answer(error, request_id(b"", self._plane.noise()), close=True))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:  # TLS: closing sends what is written first
            self._transport.close()
        self._rest()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def finished(self, *, keep: bool) -> None:
        self._current = None
        if not keep or self._plane.draining:
            self._transport.close()
            return
        self._rest()
        if self._held:
            self._held = False
            self._transport.resume_reading()
        if self._queue or self._refusal is not None:
            self._pump()
