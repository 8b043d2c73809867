"""What replicas publish: load, phase and marks, by ZeroMQ; a snapshot over HTTP when events were missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec
import zmq
import zmq.asyncio

from colonnade.gateway.affinity import Index
from colonnade.gateway.fetch import FetchFailed, get
from colonnade.gateway.stats import Stats
from colonnade.gateway.target import Target
from colonnade.gateway.view import View
from colonnade.wire.messages import Envelope, Load, Marked, Snapshot

LOG = logging.getLogger("colonnade.gateway")
PATIENCE = 2.0
"""Seconds that a replica may take for its snapshot."""

_envelope = msgspec.msgpack.Decoder(Envelope)


class _Brief(msgspec.Struct):
    """Of a snapshot: all but the cache in tokens, which a gateway has no use for."""

    epoch: str
    seq: int
    phase: str
    load: Load
    marks: list[Marked] = []


_brief = {True: msgspec.json.Decoder(_Brief).decode, False: msgspec.msgpack.Decoder(_Brief).decode}
assert set(_Brief.__struct_fields__) < set(Snapshot.__struct_fields__)


class Loads:
    """Follows every target that says where its events are; each in a task of its own."""

    def __init__(self, stats: Stats, index: Index) -> None:
        self._stats = stats
        self._index = index
        self._context: zmq.asyncio.Context | None = None
        self._tasks: dict[Target, asyncio.Task[None]] = {}

    def update(self, came: Iterable[Target], went: Iterable[Target]) -> None:
        for target in went:
            if task := self._tasks.pop(target, None):
                task.cancel()
        for target in came:
            if target.route.events:
                name = f"loads of {target.route.replica}"
                self._tasks[target] = asyncio.create_task(self._follow(target), name=name)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self.update((), list(self._tasks))
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._context is not None:
            self._context.destroy(linger=0)

    async def _follow(self, target: Target) -> None:
        self._context = self._context or zmq.asyncio.Context()
        with self._context.socket(zmq.SUB) as socket:
            socket.linger = 0
            socket.reconnect_ivl = 100
            socket.reconnect_ivl_max = 2000
            socket.subscribe(b"")
            socket.connect(target.route.events)
            view = View(target, self._index)
            await self._mend(view)
            while True:
                frames = await socket.recv_multipart()
                await self._take(view, frames[-1])

    async def _take(self, view: View, frame: bytes) -> None:
        try:
            said = _envelope.decode(frame)
        except msgspec.DecodeError as error:
            LOG.warning("%s published what is no event: %s", view.target.route.replica, error)
            return
        if view.take(said, asyncio.get_running_loop().time()):
            self._stats.load_gaps += 1
            await self._mend(view)

    async def _mend(self, view: View) -> None:
        """Ask for the whole; when that fails, the next event asks again, a little later."""
        target = view.target
        view.asked(asyncio.get_running_loop().time())
        try:
            status, body = await get(f"{target.route.url}/snapshot", PATIENCE)
            if status != 200:
                LOG.warning("%s gave no snapshot: status %d", target.route.replica, status)
                return
            snapshot = _brief[body.startswith(b"{")](body)
        except (FetchFailed, msgspec.DecodeError) as error:
            LOG.warning("%s gave no snapshot: %s", target.route.replica, error)
            return
        view.mend(snapshot)
