"""The caller's end of a wire: one connection to a step, kept, shared by all calls, dialled again when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from colonnade.chains.address import Address
from colonnade.chains.frames import Parts
from colonnade.chains.notes import Closing, Hello, Order
from colonnade.chains.peer import Inbox, Peer
from colonnade.chains.reports import report_of
from colonnade.chains.session import Came, Ended, Event, Granted, Greeted
from colonnade.chains.values import settled
from colonnade.wire.errors import Conflict, ReplicaLost

DIAL_S = 10.0
"""Seconds that a step has to greet whoever dialled it."""


class Unreachable(ReplicaLost):
    """Nothing was sent: the call was not carried out."""

    code = "step_unreachable"


class Talk(Protocol):
    """One call under way."""

    async def result(self) -> tuple[Parts, Closing]:
        """The answer of a step that gives one. Raises ReplicaLost."""
        ...

    async def next(self) -> Parts | None:
        """The next item of a step that streams; None at the end, whose `closing` there is then. Raises ReplicaLost."""
        ...

    @property
    def closing(self) -> Closing: ...

    def abandon(self) -> None:
        """The caller wants no more of it."""
        ...


class Link(Protocol):
    keeps_time: bool
    """Whether the other side surely ends a call in time: then nobody else needs a clock for it."""

    async def open(self, order: Order, parts: Parts, feed: AsyncIterator[Parts] | None) -> Talk:
        """Raises Unreachable, InvalidRequest, Conflict."""
        ...

    async def close(self) -> None: ...


class WireTalk:
    def __init__(self, peer: CallerPeer, stream: int) -> None:
        self.inbox = Inbox(peer.took(stream))
        self.closing = Closing()
        self._answer: Parts = ()
        self._peer = peer
        self._stream = stream
        self._feeding: asyncio.Task[None] | None = None

    async def result(self) -> tuple[Parts, Closing]:
        await self.inbox.next()
        return self._answer, self.closing

    async def next(self) -> Parts | None:
        return await self.inbox.next()

    def abandon(self) -> None:
        self._peer.forget(self._stream)
        self.stop_feeding()

    def ended(self, parts: Parts, closing: Closing) -> None:
        self._answer, self.closing = parts, closing
        self.inbox.close()
        self.stop_feeding()

    def feed(self, items: AsyncIterator[Parts]) -> None:
        self._feeding = asyncio.get_running_loop().create_task(self._feed(items))

    def stop_feeding(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()

    async def _feed(self, items: AsyncIterator[Parts]) -> None:
        closing = Closing()
        try:
            async for parts in items:
                await self._peer.put(self._stream, settled(parts))
        except Exception as error:
            closing = Closing(report_of(error, "the caller"))
        self._peer.write(self._stream, self._peer.session.end(self._stream, closing))


class CallerPeer(Peer):
    """The side that dialled."""

    def __init__(self) -> None:
        super().__init__("caller")
        self.greeted: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._talks: dict[int, WireTalk] = {}

    def open(self, order: Order, parts: Parts, feed: AsyncIterator[Parts] | None) -> WireTalk:
        stream, out = self.session.call(order, parts)
        talk = self._talks[stream] = WireTalk(self, stream)
        self.write(stream, out)
        if feed is not None:
            talk.feed(feed)
        return talk

    def forget(self, stream: int) -> None:
        if self._talks.pop(stream, None) is not None:
            self.write(stream, self.session.cancel(stream))
            self.granted(stream)

    def on_event(self, event: Event) -> None:
        match event:
            case Came(stream, parts, weight):
                self._talks[stream].inbox.put(parts, weight)
            case Ended(stream, parts, closing):
                self._talks.pop(stream).ended(parts, closing)
                self.granted(stream)
            case Granted(stream):
                self.granted(stream)
            case Greeted(hello):
                if not self.greeted.done():
                    self.greeted.set_result(hello)
            case _:
                raise AssertionError(event)

    def on_lost(self, error: ReplicaLost) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(error)
            self.greeted.exception()  # seen: the one who dialled may be gone
        talks, self._talks = self._talks, {}
        for talk in talks.values():
            talk.inbox.close(ReplicaLost(error.message, hint=error.hint, code=error.reason))
            talk.stop_feeding()


class WireLink:
    """To the step `name` at an address, with the graph and the signature that are expected of it, if any are."""

    keeps_time = False

    def __init__(self, name: str, address: Address, graph: str = "", signature: str = "") -> None:
        self._name = name
        self._address = address
        self._graph = graph
        self._signature = signature
        self._peer: CallerPeer | None = None
        self._dialling: asyncio.Task[CallerPeer] | None = None

    async def open(self, order: Order, parts: Parts, feed: AsyncIterator[Parts] | None) -> WireTalk:
        peer = self._peer
        if peer is None or peer.lost:
            peer = await self._dialled()
        await peer.drained()
        if peer.lost:
            raise Unreachable(f"step {self._name} went away")
        return peer.open(order, parts, feed)

    async def close(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait([self._dialling])
        if self._peer is not None:
            await self._peer.dropped()

    async def _dialled(self) -> CallerPeer:
        """One dial for all who wait; none of them cancels it for the others."""
        if self._dialling is None:
            self._dialling = asyncio.create_task(self._dial(), name=f"dial {self._name}")
            self._dialling.add_done_callback(_seen)
        dialling = self._dialling
        try:
            return await asyncio.shield(dialling)
        finally:
            if dialling.done() and self._dialling is dialling:
                self._dialling = None

    async def _dial(self) -> CallerPeer:
        loop = asyncio.get_running_loop()
        address = self._address
        try:
            if address.path:
                _, peer = await loop.create_unix_connection(CallerPeer, address.path)
            else:
                _, peer = await loop.create_connection(CallerPeer, address.host, address.port)
        except OSError as error:
            raise Unreachable(f"step {self._name} cannot be reached at {address}: {error.strerror or error}") from error
        try:
            self._accept(await asyncio.wait_for(peer.greeted, DIAL_S))
        except BaseException as error:
            peer.abort()
            if isinstance(error, TimeoutError):
                raise Unreachable(f"step {self._name} at {address} did not greet in {DIAL_S:g} s") from error
            if isinstance(error, ReplicaLost):
                raise Unreachable(f"step {self._name} at {address}: {error.message}", code=error.reason) from error
            raise
        self._peer = peer
        return peer

    def _accept(self, hello: Hello) -> None:
        """Raises Conflict."""
        if self._graph and hello.graph != self._graph:
            raise Conflict(
                f"step {self._name} at {self._address} belongs to another state of the chain",
                hint="start the chain again: old and new steps are not mixed",
                code="other_graph",
            )
        if self._signature and hello.signature != self._signature:
            raise Conflict(
                f"step {self._name} at {self._address} has another signature",
                hint="the class that stands for it must have the same run_remote",
                code="other_signature",
            )


def _seen(dialling: asyncio.Task[CallerPeer]) -> None:
    """Whoever waited for it may be gone."""
    if not dialling.cancelled():
        dialling.exception()
