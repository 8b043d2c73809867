"""A request on its way to one replica after the other: a connection to the one that has it, the bytes that it gets."""

from __future__ import annotations

import asyncio
from typing import Protocol

from colonnade.gateway.delivery import Client
from colonnade.gateway.http1 import Head
from colonnade.gateway.plane import Plane
from colonnade.gateway.target import Target
from colonnade.gateway.upstream import Pool, Receiver, Upstream
from colonnade.wire.replay import HEADER


class Sender(Receiver, Protocol):
    """Whose errand it is."""

    def on_unreached(self, target: Target, reason: str) -> None:
        """No connection could be made."""
        ...


class Errand:
    """`lines`: what the gateway fixed about the request; `replay`: what a replica must know to go on with it;
    `fresh`: a kept connection has failed it, so it asks for new ones. `upstream` has it now."""

    __slots__ = (
        "_body",
        "_client",
        "_connecting",
        "_head",
        "_over",
        "_plane",
        "fresh",
        "lines",
        "replay",
        "sent",
        "upstream",
    )

    def __init__(self, plane: Plane, client: Client, head: Head, body: bytes) -> None:
        self._plane = plane
        self._client = client
        self._head = head
        self._body = body
        self._connecting: asyncio.Task[None] | None = None
        self._over = False
        self.upstream: Upstream | None = None
        self.lines = self.replay = b""
        self.fresh = False
        self.sent = False
        """A replica has had it."""

    def another(self) -> Errand:
        """The same to one more replica."""
        other = Errand(self._plane, self._client, self._head, self._body)
        other.lines = self.lines
        return other

    def carry(self, target: Target, sender: Sender) -> None:
        """To this replica. `sender` is not kept: it holds this errand, and a circle is freed late."""
        pool = self._plane.pool(target)
        upstream = None if self.fresh else pool.take()
        if upstream is None:
            self._connecting = self._plane.loop.create_task(self._connect(pool, target, sender))
        else:
            self._send(upstream, pool, sender)

    async def _connect(self, pool: Pool, target: Target, sender: Sender) -> None:
        seconds = self._plane.settings.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                upstream = await pool.connect()
        except (OSError, UnicodeError) as error:  # the latter: a host name that is none
            self._connecting = None
            reason = f"it took no connection within {seconds:g} s" if isinstance(error, TimeoutError) else str(error)
            self._plane.table.unreachable(target, self._plane.now())
            if not self._over:
                sender.on_unreached(target, reason)
            return
        self._connecting = None
        if self._over:
            upstream.drop()
        else:
            self._send(upstream, pool, sender)

    def _send(self, upstream: Upstream, pool: Pool, sender: Sender) -> None:
        self.upstream = upstream
        self.sent = True
        if self._client.paused:
            upstream.pause()
        replay, body = b"", self._body
        if self.replay:
            replay = b"%b: %d\r\n" % (HEADER.encode(), len(self.replay))
            body = self.replay + body
        request = b"%b %b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n%b%b%b\r\n" % (
            self._head.method,
            self._head.path,
            pool.authority,
            len(body),
            self.lines,
            replay,
            self._head.forward,
        )
        upstream.send(sender, request, body, self._plane.now())

    def pause(self) -> None:
        """The client takes nothing now: neither do we."""
        if self.upstream is not None:
            self.upstream.pause()

    def resume(self) -> None:
        if self.upstream is not None:
            self.upstream.heard_at = self._plane.now()
            self.upstream.resume()

    def drop(self) -> None:
        """This is how a replica learns that nobody waits any more."""
        if self.upstream is not None:
            self.upstream.drop()
            self.upstream = None

    def end(self) -> None:
        """A connection that is still being made is not wanted any more."""
        self._over = True
