"""The life of a serving process that is not an engine's: its phases, what is in flight, what it publishes.

starting -> ready -> draining -> gone
       \\-> failed -> gone
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator

import zmq

from colonnade.replica.leaving import Leaving
from colonnade.replica.metrics import Metrics
from colonnade.replica.publisher import Publisher
from colonnade.wire.messages import Deltas, Load, Phase, Snapshot
from colonnade.wire.settings import HttpSettings, ReplicaSettings

LAST_WORDS = 2.0
"""Seconds that probes get to read why it failed."""


class Life:
    """On one event loop. `gone` resolves to why the process must end: "" when it was asked to."""

    def __init__(self, name: str, epoch: str, http: HttpSettings, settings: ReplicaSettings) -> None:
        self.name = name
        self.epoch = epoch
        self.http = http
        self.settings = settings
        self.metrics = Metrics()
        self.created = int(time.time())
        self._leaving = Leaving()
        self.gone = self._leaving.gone
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._publisher = Publisher(self._context, epoch)
        self._steps = 0

    @property
    def phase(self) -> Phase:
        return self._publisher.phase

    @property
    def events(self) -> str:
        return self._publisher.endpoint

    @property
    def in_flight(self) -> int:
        return self._leaving.held

    def close(self) -> None:
        """After `gone`."""
        self._publisher.close()
        self._context.term()

    def turn(self, phase: Phase) -> None:
        self._publisher.turn(phase)
        self.metrics.turn(phase.name)

    def ready(self) -> None:
        if self.phase.name == "starting":
            self.turn(Phase("ready"))

    def fail(self, reason: str, words: float = LAST_WORDS) -> None:
        """The process ends, after `words` seconds in which probes can read why."""
        self.turn(Phase("failed", reason))
        self._leaving.end(reason, words, words)

    def drain(self, bound: float, why: str) -> None:
        """No new requests; leave when those in flight are done, or after `bound` seconds."""
        if self.phase.name in ("starting", "ready"):
            self.turn(Phase("draining", why))
            self._leaving.end("", bound)

    @contextlib.contextmanager
    def exchange(self) -> Generator[None]:
        """Around each request that the end of the process waits for."""
        with self._leaving.exchange():
            try:
                yield
            finally:
                self._steps += 1

    def note(self, running: int, waiting: int) -> None:
        load = Load(running=running, waiting=waiting, steps=self._steps)
        self.metrics.note(load)
        self._publisher.note(Deltas([], load))

    def snapshot(self) -> Snapshot:
        return self._publisher.snapshot()

    def health(self, running: int, waiting: int) -> dict[str, object]:
        return {
            "status": self.phase.name,
            "reason": self.phase.reason,
            "in_flight": self.in_flight,
            "running": running,
            "waiting": waiting,
        }

    def card(self) -> dict[str, object]:
        """As /v1/models shows it."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "colonnade",
            "kind": "package",
            "epoch": self.epoch,
        }
