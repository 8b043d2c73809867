"""A step on a socket: each connection carries any number of calls at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass

from colonnade.chains.address import Address
from colonnade.chains.frames import Parts
from colonnade.chains.host import Host
from colonnade.chains.notes import Closing, Hello
from colonnade.chains.peer import Inbox, Peer
from colonnade.chains.reports import error_of, report_of
from colonnade.chains.session import Came, Cancelled, Ended, Event, Granted, Opened
from colonnade.chains.values import settled
from colonnade.wire.errors import InvalidRequest, ReplicaLost


@dataclass
class _Answering:
    task: asyncio.Task[None]
    inbox: Inbox


class HostPeer(Peer):
    """The side that was dialled. A call that is cancelled, and every call of a caller that is gone, is cancelled."""

    def __init__(self, host: Host, hello: Hello, peers: set[HostPeer]) -> None:
        super().__init__("host")
        self._host = host
        self._hello = hello
        self._peers = peers
        self._answering: dict[int, _Answering] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peers.add(self)
        self.write(0, self.session.greet(self._hello))

    def on_room(self, room: bool) -> None:
        """A caller that does not read its answers is not listened to either, so that they cannot pile up."""
        if self._transport is not None and not self.lost:
            self._transport.resume_reading() if room else self._transport.pause_reading()

    def on_event(self, event: Event) -> None:
        match event:
            case Opened():
                inbox = Inbox(self.took(event.stream))
                if not event.order.feeds:
                    inbox.close()
                task = asyncio.get_running_loop().create_task(self._answer(event, inbox))
                self._answering[event.stream] = _Answering(task, inbox)
                task.add_done_callback(lambda _: self._answering.pop(event.stream, None))
            case Came(stream, parts, weight):
                self._answering[stream].inbox.put(parts, weight)
            case Ended(stream, _, closing):
                self._answering[stream].inbox.close(error_of(closing.report) if closing.report else None)
            case Granted(stream):
                self.granted(stream)
            case Cancelled(stream):
                self._answering[stream].task.cancel()
                self.granted(stream)
            case _:
                raise AssertionError(event)

    def on_lost(self, error: ReplicaLost) -> None:
        self._peers.discard(self)
        for each in tuple(self._answering.values()):
            each.task.cancel()

    async def _answer(self, opened: Opened, inbox: Inbox) -> None:
        stream = opened.stream

        async def send(parts: Parts) -> None:
            await self.put(stream, settled(parts))

        answer, closing = await self._host.answer(opened.order, opened.parts, inbox.next, send)
        self._finish(stream, settled(answer), closing)

    def _finish(self, stream: int, answer: Parts, closing: Closing) -> None:
        try:
            self.write(stream, self.session.end(stream, closing, answer))
        except InvalidRequest as error:
            told = Closing(report_of(error, self._host.name), closing.span)
            self.write(stream, self.session.end(stream, told))


class Server:
    """Listens for callers of one step until closed."""

    def __init__(self, host: Host, hello: Hello) -> None:
        self._host = host
        self._hello = hello
        self._peers: set[HostPeer] = set()
        self._server: asyncio.Server | None = None
        self._file = ""

    async def listen(self, address: Address) -> Address:
        """The address it got: port 0 takes a free one. Raises OSError."""
        loop = asyncio.get_running_loop()
        if address.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address.path)
            self._server = await loop.create_unix_server(self._peer, address.path)
            self._file = address.path
            return address
        bound = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
        self._server = await loop.create_server(self._peer, sock=bound)
        return Address(host=address.host, port=bound.getsockname()[1])

    def stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        self.stop_listening()
        for peer in tuple(self._peers):
            await peer.dropped()
        if self._file:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._file)

    def _peer(self) -> HostPeer:
        return HostPeer(self._host, self._hello, self._peers)
