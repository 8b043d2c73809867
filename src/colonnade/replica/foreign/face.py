"""The life of a replica whose engine is another's server: its phases, what is in flight, what it publishes.

starting -> ready -> draining -> gone         starting: until the server takes requests
       \\-> failed -> gone                    failed: the server is gone; one life of it is one epoch, so this ends, too
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager

import msgspec
import zmq

from colonnade.replica.foreign.asking import Names, asked
from colonnade.replica.foreign.cache_events import CacheEvents
from colonnade.replica.foreign.child import EngineChild
from colonnade.replica.foreign.lookout import Lookout, chosen
from colonnade.replica.foreign.relay import Relay, Watch
from colonnade.replica.foreign.server import Served, Server
from colonnade.replica.foreign.telling import PREFIXES, Heading, StreamTelling, WholeTelling
from colonnade.replica.foreign.vitals import Vitals
from colonnade.replica.identity import Identity, identify
from colonnade.replica.leaving import Leaving
from colonnade.replica.metrics import Metrics
from colonnade.replica.publisher import Publisher
from colonnade.replica.spool import Spool
from colonnade.replica.streams import Streams
from colonnade.wire.errors import Overloaded, ReplicaLost
from colonnade.wire.messages import CacheChange, Deltas, Load, Namespace, Phase, Snapshot
from colonnade.wire.settings import HttpSettings, ReplicaSettings

LAST_WORDS = 2.0
"""Seconds that connections get to read their error when the engine is gone."""


class ForeignFace:
    """Lives on one event loop. `gone` resolves to why the process must end: "" when it was asked to."""

    def __init__(self, server: Server, wanted: str, epoch: str, http: HttpSettings, settings: ReplicaSettings) -> None:
        """`wanted`: the model's name at the server, "" for its only one."""
        self.server = server
        self.epoch = epoch
        self.http = http
        self.settings = settings
        self.metrics = Metrics()
        self.streams: Streams[Relay] = Streams(epoch)
        self.created = int(time.time())
        self._leaving = Leaving(self._cut)
        self.gone = self._leaving.gone
        self.vitals = Vitals(settings.stall_timeout, time.monotonic())
        self._wanted = wanted
        self._model: Served | None = None
        self._lookout = Lookout(server, self.vitals, self._changed)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._publisher = Publisher(self._context, epoch)
        self._child: EngineChild | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._relays: set[Relay] = set()

    async def start(self) -> None:
        """Returns when requests are taken. Raises BadSetting for a command or a model that there is not."""
        if self.settings.engine_command:
            self._child = await EngineChild.start(self.settings.engine_command)
            self._go_on(self._watch(self._child))
        models = await self._lookout.until_ready(lambda why: self._starting(why))
        if self.phase.name != "starting":
            return
        self._model = chosen(models, self._wanted)
        self._turn(Phase("ready"))
        self._go_on(self._keep_looking())
        if self.settings.engine_events:
            events = CacheEvents(Namespace().key(self._model.name))
            self._go_on(self._lookout.listen(self.settings.engine_events, events))

    async def stop(self) -> None:
        """After `gone`: end the engine where it is a child, close the sockets."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._child is not None:
            await self._child.stop()
        await self.server.close()
        self._publisher.close()
        self._context.term()

    def _go_on(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _watch(self, child: EngineChild) -> None:
        self.vitals.ended(await child.ended())
        self._lost()

    async def _keep_looking(self) -> None:
        await self._lookout.run()
        self._lost()

    def _lost(self) -> None:
        if self.phase.name == "failed":
            return
        reason = f"the engine is gone: {self.vitals.gone}"
        self._turn(Phase("failed", reason))
        for relay in list(self._relays):
            relay.cancel(ReplicaLost(f"the replica was lost: {reason}", hint="send the request again"))
        self._leaving.end(reason, LAST_WORDS)

    # The phases.

    @property
    def phase(self) -> Phase:
        return self._publisher.phase

    @property
    def events(self) -> str:
        return self._publisher.endpoint

    def _starting(self, why: str) -> None:
        if self.phase.name == "starting" and self.phase.reason != why:
            self._turn(Phase("starting", why))

    def drain(self, bound: float, why: str) -> None:
        """No new requests; leave when those in flight are done, or after `bound` seconds."""
        if self.phase.name in ("starting", "ready"):
            self._turn(Phase("draining", why))
            self._leaving.end("", bound)

    def _turn(self, phase: Phase) -> None:
        self._publisher.turn(phase)
        self.metrics.turn(phase.name)

    def _cut(self, why: str) -> None:
        for relay in list(self._relays):
            relay.cancel(Overloaded(why, code="draining", hint="send the request again"))

    # What is in flight.

    def exchange(self) -> AbstractContextManager[None]:
        """Around each HTTP exchange that the end of the process waits for."""
        return self._leaving.exchange()

    def identify(self, headers: Mapping[str, str]) -> Identity:
        return identify(headers, os.urandom(24), time.time(), self.settings.resume_limit)

    def begin(self, path: str, body: bytes, identity: Identity) -> Relay:
        """Raises InvalidRequest for what the engine cannot do, Overloaded when no request is taken now."""
        model = self.model
        if self.phase.name != "ready":
            code = "draining" if self.phase.name == "draining" else "not_ready"
            raise Overloaded(f"the replica is {self.phase.name}", code=code, hint="send the request again in a moment")
        if len(self._relays) >= self.settings.max_waiting:
            hint = "send fewer at a time, or raise max_waiting"
            raise Overloaded(f"{len(self._relays)} requests are with the engine", hint=hint)
        wanted = asked(body, self.server.kind, Names(self.name, model.name), identity.tenant)
        heading = Heading(PREFIXES[path] + identity.request_id, identity.created, self.name)
        stream = wanted.stream
        relay = Relay(
            server=self.server,
            path=path,
            asked=wanted,
            telling=StreamTelling(heading, self.epoch, wanted) if stream else WholeTelling(heading, wanted),
            identity=identity,
            spool=Spool(self.settings.spool_limit if stream else None, keep=stream and identity.resume > 0),
            watch=Watch(self._moved, self._over),
        )
        self._relays.add(relay)
        self._leaving.hold()
        self._carry()
        relay.start()
        self._changed([])
        return relay

    def _carry(self) -> None:
        streams = sum(relay.asked.stream for relay in self._relays)
        self.vitals.carries(len(self._relays), streams, time.monotonic())

    def _moved(self, count: int) -> None:
        self.vitals.moved(count, time.monotonic())
        self._changed([])

    def _over(self, relay: Relay, outcome: str) -> None:
        self._relays.discard(relay)
        self._carry()
        self.metrics.requests.labels(relay.path.removeprefix("/v1/").partition("/")[0], outcome).inc()
        for kind, count in zip(("prompt", "cached", "completion"), relay.telling.counted, strict=True):
            self.metrics.tokens.labels(kind).inc(count)
        self._changed([])
        self._leaving.let()

    def _changed(self, cache: list[CacheChange]) -> None:
        """Load as the engine tells it; where it does not, and between two looks, at least what passes here."""
        told = self._lookout.load or Load()
        load = msgspec.structs.replace(told, running=max(told.running, len(self._relays)), steps=self.vitals.steps)
        self.metrics.note(load)
        self._publisher.note(Deltas([], load, cache))

    # What it tells about itself.

    @property
    def model(self) -> Served:
        """Raises Overloaded until the server has told it."""
        if self._model is None:
            hint = "`colonnade ps` shows how far it is"
            raise Overloaded(self.phase.reason or "starting", code="not_ready", hint=hint)
        return self._model

    @property
    def name(self) -> str:
        return self.settings.served_name or self.model.name

    def snapshot(self) -> Snapshot:
        return self._publisher.snapshot()

    def stalled(self) -> bool:
        return self.vitals.stalled(time.monotonic())

    def health(self) -> dict[str, object]:
        now = time.monotonic()
        return {
            "status": "stalled" if self.vitals.stalled(now) else self.phase.name,
            "reason": self.phase.reason,
            "steps": self.vitals.steps,
            "in_flight": self.vitals.in_flight,
            "seconds_without_step": round(self.vitals.quiet(now), 3),
            "threshold_seconds": self.vitals.limit,
            "engine": self.server.url,
        }

    def model_card(self) -> dict[str, object]:
        """The model as /v1/models shows it: OpenAI's fields, and what can be had of this engine."""
        context = {"max_model_len": self.model.context} if self.model.context else {}
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "colonnade",
            **context,
            "kind": "foreign",
            "engine": self.server.kind.name,
            "batch_invariant": False,
            "abilities": self.server.kind.facts(),
            "epoch": self.epoch,
        }
