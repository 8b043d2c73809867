"""The host actor: the supervisor of the local driver on one node of a Ray cluster.

Its replicas are no children of Ray's: when it ends they go on, and the next one on the same node finds them by their
records, each by its epoch. What happens is kept here until the driver asks, by long polls.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from colonnade.drivers.base import Announced, DriverEvent, Exited, Life, ReplicaSpec, Started
from colonnade.drivers.local import LocalDriver
from colonnade.drivers.ray.nodes import Key, News
from colonnade.drivers.records import Lock, RecordBook
from colonnade.wire.errors import SetupError

ALONE_S = 120.0
"""A host without a life that nobody has asked for so long ends itself."""


class HostOptions(msgspec.Struct, frozen=True):
    """`address`: the node's, which replicas listen on. The others as `LocalDriver` has them."""

    home: str
    address: str
    log_limit: int
    linger: float


class Refused(msgspec.Struct, frozen=True):
    """A SetupError, as it crosses Ray."""

    message: str
    hint: str


class Host:
    """An asyncio actor: its methods run on one loop, any number at once."""

    def __init__(self, options: HostOptions) -> None:
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray's, for its own workers: replicas have settings for that
        self._home = Path(options.home)
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._driver = LocalDriver(
            self._home, log_limit=options.log_limit, linger=options.linger, address=options.address
        )
        self._known: set[Key] = set()
        self._run = f"{os.getpid()}.{secrets.token_hex(4)}"
        self._events: list[DriverEvent] = []
        self._dropped = 0
        self._asked = time.monotonic()
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def hear(self, run: str, after: int, within: float) -> News:
        """What happened after the first `after` events of this run, at once or when there is something, for `within`
        seconds at most."""
        await self._open()
        self._asked = time.monotonic()
        if run != self._run:
            return await self._everything()
        self._drop(after)
        if not self._events:
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), within)
        return News(self._run, self._told, tuple(self._events), tuple(self._known))

    async def _everything(self) -> News:
        """For one who knows nothing of this run: the lives that are, as if just begun, and what nobody heard."""
        lives = await self._driver.list()
        begun = [event for life in lives for event in (Started(life), Announced(life))[: 1 + bool(life.url)]]
        return News(self._run, self._told, (*begun, *self._events), tuple(self._known))

    def _drop(self, after: int) -> None:
        """What was heard is not told again."""
        heard = self._events[: after - self._dropped]
        self._known -= {(event.life.id, event.life.epoch) for event in heard if isinstance(event, Exited)}
        del self._events[: len(heard)]
        self._dropped = after

    @property
    def _told(self) -> int:
        return self._dropped + len(self._events)

    async def start(self, spec: ReplicaSpec) -> Life | Refused | None:
        """None when it is over already."""
        await self._open()
        self._known.add((spec.id, spec.epoch))
        try:
            await self._driver.start(spec)
        except SetupError as error:
            return Refused(error.message, error.hint)
        lives = await self._driver.list()
        return next((life for life in lives if (life.id, life.epoch) == (spec.id, spec.epoch)), None)

    async def stop(self, id: str, epoch: str, grace: float) -> None:
        await self._open()
        await self._driver.stop(id, epoch, grace)

    async def logs(self, id: str, tail: int) -> dict[str, str]:
        return self._driver.log_tails(id, tail)

    async def retire(self) -> None:
        """Ends the actor for good."""
        from ray.actor import exit_actor

        await self._driver.close()
        exit_actor()

    async def _open(self) -> None:
        """Raises SetupError, and may be tried again, while another host has this node's folder."""
        if self._watching is None:
            self._lock = Lock(self._home / "host.lock", "another host")
            records = RecordBook(self._home / "replicas").read()
            self._known = {(record.life.id, record.life.epoch) for record in records}
            self._watching = asyncio.create_task(self._watch())
            await self._driver.open()
            self._alone = asyncio.create_task(self._end_when_alone())

    async def _watch(self) -> None:
        async for event in self._driver.watch():
            self._events.append(event)
            self._news.set()

    async def _end_when_alone(self) -> None:
        import ray

        while True:
            await asyncio.sleep(ALONE_S / 4)
            if time.monotonic() - self._asked > ALONE_S and not await self._driver.list():
                ray.get_runtime_context().current_actor.retire.remote()
