"""One connection on a loop: the shell around FrameReader and Session, for either side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Literal, cast

from colonnade.chains.frames import Buffer, FrameReader, Parts
from colonnade.chains.outbox import PIECE, Outbox
from colonnade.chains.session import Event, Session
from colonnade.wire.errors import ColonnadeError, ReplicaLost

JOINED = 16 << 10
"""Bytes up to which buffers are copied into one write."""
ROOM = 8 * PIECE
"""Bytes that may wait for the socket before those who would send more wait, too."""


class Inbox:
    """Items that have come and wait for their one reader. `taken` hears the weight of each that is read."""

    def __init__(self, taken: Callable[[int], None]) -> None:
        self._items: deque[tuple[Parts, int]] = deque()
        self._taken = taken
        self._closed = False
        self._error: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None

    def put(self, parts: Parts, weight: int) -> None:
        self._items.append((parts, weight))
        self._wake()

    def close(self, error: Exception | None = None) -> None:
        """After what is there already; the first end counts."""
        if not self._closed:
            self._closed, self._error = True, error
            self._wake()

    async def next(self) -> Parts | None:
        """None at the end. Raises the error that it was closed with."""
        while not self._items:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return None
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        parts, weight = self._items.popleft()
        self._taken(weight)
        return parts

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Peer(asyncio.BufferedProtocol):
    """Subclasses say what an event does, and what the end of the connection does."""

    def __init__(self, role: Literal["caller", "host"]) -> None:
        self.session = Session(role)
        self.lost = False
        self._reader = FrameReader()
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._outbox = Outbox()
        self._flows = True
        self._room = asyncio.Event()
        self._room.set()
        self._credit: dict[int, asyncio.Event] = {}

    def on_event(self, event: Event) -> None:
        raise AssertionError

    def on_lost(self, error: ReplicaLost) -> None:
        raise AssertionError

    # Sending.

    def write(self, stream: int, buffers: list[Buffer]) -> None:
        """A frame of that call; the socket gets it when it is its turn."""
        if self._transport is None or self.lost or not buffers:
            return
        if self._flows and sum(map(len, buffers)) <= JOINED:  # then nothing waits
            self._transport.write(b"".join(buffers))
        else:
            self._outbox.put(stream, buffers)
            self._pump(self._transport)

    def _pump(self, transport: asyncio.Transport) -> None:
        while self._flows and (piece := self._outbox.next()):
            transport.writelines(piece)
        room = self._outbox.weight < ROOM
        if room != self._room.is_set():
            self._room.set() if room else self._room.clear()
            self.on_room(room)

    def on_room(self, room: bool) -> None:
        """Whether there is room for more to wait for the socket, when that changes."""

    async def drained(self) -> None:
        """Returns when there is room for one more message to wait for the socket."""
        while not self._room.is_set():
            await self._room.wait()

    async def put(self, stream: int, parts: Parts) -> None:
        """Sends an item when there is credit; nothing for a call that is over."""
        while self.session.credit(stream) <= 0 and not self.lost:
            event = self._credit[stream] = asyncio.Event()
            await event.wait()
        if not self.lost:
            self.write(stream, self.session.item(stream, parts))
            await self.drained()

    def granted(self, stream: int) -> None:
        """There is credit, or the call is over: whoever waits looks again."""
        if (event := self._credit.pop(stream, None)) is not None:
            event.set()

    def took(self, stream: int) -> Callable[[int], None]:
        return lambda weight: self.write(stream, self.session.taken(stream, weight))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def dropped(self) -> None:
        """Aborts, and waits until the connection is gone."""
        self.abort()
        await self._gone.wait()

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview[int]:
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._reader.advance(nbytes):
                event = self.session.received(frame)
                if event is not None and not self.lost:
                    self.on_event(event)
        except ColonnadeError as error:
            self._end(error if isinstance(error, ReplicaLost) else ReplicaLost(error.message))
            self.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self._end(ReplicaLost(f"the connection was lost{f': {exc}' if exc else ''}", hint="the other process ended"))

    def pause_writing(self) -> None:
        self._flows = False

    def resume_writing(self) -> None:
        self._flows = True
        if self._transport is not None and not self.lost:
            self._pump(self._transport)

    def _end(self, error: ReplicaLost) -> None:
        if self.lost:
            return
        self.lost = True
        self._outbox = Outbox()
        self._room.set()
        for stream in tuple(self._credit):
            self.granted(stream)
        self.on_lost(error)
