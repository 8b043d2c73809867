"""The ZeroMQ PUB socket that gateways subscribe to, around a pure `Publication`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import zmq

from colonnade.replica.landmarks import Mark
from colonnade.replica.publication import Publication
from colonnade.wire.messages import Deltas, Envelope, Phase, Snapshot

INTERVAL = 0.05
"""Seconds between two envelopes of load, at least."""


class Publisher:
    """Loopback alone until channels that leave a host are encrypted."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], epoch: str) -> None:
        self._publication = Publication(epoch)
        self._socket = context.socket(zmq.PUB)
        self._socket.linger = 0
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self._timer: asyncio.TimerHandle | None = None

    @property
    def phase(self) -> Phase:
        return self._publication.phase

    def expect(self, marks: Iterable[Mark]) -> None:
        self._publication.expect(marks)
        self._soon()

    def note(self, deltas: Deltas) -> None:
        self._publication.note(deltas.load, deltas.cache)
        self._soon()

    def _soon(self) -> None:
        if self._timer is None and self._publication.pending:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._flush)

    def turn(self, phase: Phase) -> None:
        self._send(self._publication.turn(phase))

    def snapshot(self) -> Snapshot:
        self._send(self._publication.flush())
        return self._publication.snapshot()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()

    def _flush(self) -> None:
        self._timer = None
        self._send(self._publication.flush())

    def _send(self, envelopes: list[Envelope]) -> None:
        """PUB never blocks: a subscriber that is too slow loses envelopes, sees the gap and asks for a snapshot."""
        for envelope in envelopes:
            self._socket.send(msgspec.msgpack.encode(envelope), zmq.NOBLOCK)
