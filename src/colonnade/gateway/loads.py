"""What replicas publish: their load and phase, by ZeroMQ; a snapshot over HTTP when events were missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec
import zmq
import zmq.asyncio

from colonnade.gateway.fetch import FetchFailed, get
from colonnade.gateway.routing import Target
from colonnade.gateway.sequence import Sequence
from colonnade.gateway.stats import Stats
from colonnade.wire.messages import Envelope, Load, LoadChanged, Phase, Snapshot

LOG = logging.getLogger("colonnade.gateway")
PATIENCE = 2.0
"""Seconds that a replica may take for its snapshot."""

_envelope = msgspec.msgpack.Decoder(Envelope)


class _Brief(msgspec.Struct):
    """Of a snapshot: all but the cache, which least-loaded routing has no use for."""

    epoch: str
    seq: int
    phase: str
    load: Load


_brief = {True: msgspec.json.Decoder(_Brief).decode, False: msgspec.msgpack.Decoder(_Brief).decode}
assert set(_Brief.__struct_fields__) < set(Snapshot.__struct_fields__)


class Loads:
    """Follows every target that says where its events are; each in a task of its own."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
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
            numbers = Sequence(target.route.epoch)
            await self._mend(target, numbers)
            while True:
                frames = await socket.recv_multipart()
                await self._take(target, numbers, frames[-1])

    async def _take(self, target: Target, numbers: Sequence, frame: bytes) -> None:
        try:
            said = _envelope.decode(frame)
        except msgspec.DecodeError as error:
            LOG.warning("%s published what is no event: %s", target.route.replica, error)
            return
        verdict = numbers.take(said.epoch, said.seq)
        if verdict in ("old", "foreign"):
            return
        match said.event:
            case LoadChanged(load):
                if load.steps != target.load.steps:
                    target.pulse.known = True
                    target.pulse.heard(asyncio.get_running_loop().time(), busy=target.in_flight > 0)
                target.load = load
            case Phase(name):
                _set_phase(target, name)
            case _:
                pass  # cache changes are of use to routing by prefix alone
        if verdict == "gap":
            self._stats.load_gaps += 1
            await self._mend(target, numbers)

    async def _mend(self, target: Target, numbers: Sequence) -> None:
        """Ask for the whole; when that fails, what the events say is all there is until the next gap."""
        try:
            status, body = await get(f"{target.route.url}/snapshot", PATIENCE)
            if status != 200:
                LOG.warning("%s gave no snapshot: status %d", target.route.replica, status)
                return
            snapshot = _brief[body.startswith(b"{")](body)
        except (FetchFailed, msgspec.DecodeError) as error:
            LOG.warning("%s gave no snapshot: %s", target.route.replica, error)
            return
        if numbers.at(snapshot.epoch, snapshot.seq):
            target.load = snapshot.load
            target.pulse.known = True
            _set_phase(target, snapshot.phase)


def _set_phase(target: Target, name: str) -> None:
    target.leaving = name in ("updating", "asleep", "draining", "failed")
