"""One HTTP exchange: the body in, within its limits; an answer out, from a spool, for as long as somebody reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Self

from colonnade.replica.spool import Spool
from colonnade.wire.errors import BodyTooLarge, ColonnadeError, RequestTimeout
from colonnade.wire.settings import HttpSettings
from colonnade.wire.stream import KEEP_ALIVE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

EVENT_STREAM: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Disconnected(Exception):
    """The client went before its request was whole."""


async def read_body(receive: Receive, declared: str, http: HttpSettings, before: int = 0) -> bytes:
    """`before`: bytes of a replay, which the limit does not count.

    Raises BodyTooLarge, RequestTimeout, Disconnected."""
    if declared.isdecimal() and int(declared) > http.body_limit + before:
        raise _too_large(http)
    try:
        async with asyncio.timeout(http.request_timeout):
            return await _gather(receive, http, before)
    except TimeoutError as error:
        raise RequestTimeout(
            f"the request was not whole after {http.request_timeout:g} s", hint="see request_timeout"
        ) from error


async def _gather(receive: Receive, http: HttpSettings, before: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > http.body_limit + before:
            raise _too_large(http)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(http: HttpSettings) -> ColonnadeError:
    return BodyTooLarge(f"the body is longer than {http.body_limit} bytes", hint="see body_limit")


async def respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """A whole answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


class Reader:
    """Reads one spool for one connection: `async with Reader(...) as reader`.

    `send` never fails after a disconnect, so `receive` is watched beside it. A reader that comes later takes over.
    """

    def __init__(self, receive: Receive, send: Send, spool: Spool, keep_alive: float) -> None:
        self._receive = receive
        self._send = send
        self._spool = spool
        self._keep_alive = keep_alive
        self._woken = asyncio.Event()
        self._gone = False
        self._busy = False  # bytes were sent since the last tick
        self._due = False  # of a keep-alive

    async def __aenter__(self) -> Self:
        before, self._spool.wake = self._spool.wake, self._wake
        before()
        self._timer = asyncio.get_running_loop().call_later(self._keep_alive, self._tick)
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)

    @property
    def replaced(self) -> bool:
        return self._spool.wake != self._wake

    async def whole(self) -> bytes | None:
        """All of it, once it has ended; None when the client went before that."""
        while not self._spool.ended and not self._gone:
            await self._pause()
        return self._spool.take(0) if self._spool.ended else None

    async def stream(self, headers: Headers, offset: int = 0) -> None:
        """All from `offset` on, as it comes. The answer begins with its first bytes, or with a keep-alive while they
        are waited for; a request that is refused before that gets its own status: `spool.begun` is then still false.

        Ends early when the client goes, or when another reader takes over."""
        self._spool.deliver(offset)
        while not self._spool.end and self._goes_on and not self._spool.ended and not self._due:
            await self._pause()
        if not self._goes_on or (self._spool.ended and not self._spool.end):
            return
        self._spool.begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        while self._goes_on:
            data = self._spool.take(offset)
            offset += len(data)
            if data:
                self._spool.deliver(offset)
                await self._part(data)
            elif self._spool.ended:
                break
            elif self._due:
                await self._part(KEEP_ALIVE)
            else:
                await self._pause()
        await self._send({"type": "http.response.body", "body": b""})

    @property
    def _goes_on(self) -> bool:
        return not self._gone and not self.replaced

    async def _part(self, data: bytes) -> None:
        self._busy, self._due = True, False
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _pause(self) -> None:
        self._woken.clear()
        await self._woken.wait()

    def _wake(self) -> None:
        self._woken.set()

    def _tick(self) -> None:
        """A stream that was silent since the tick before gets a keep-alive: after one interval, or nearly two."""
        self._due, self._busy = not self._busy, False
        self._woken.set()
        self._timer = asyncio.get_running_loop().call_later(self._keep_alive, self._tick)

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._woken.set()
