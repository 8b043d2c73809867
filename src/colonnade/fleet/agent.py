"""The agent of a cluster: the thin shell around the reconciler.

    driver events, probe answers, desired states, timers -> Reconciler -> driver verbs, probes, reports

It is crash-only: killed at any moment, it leaves the replicas running, and the next one finds them by the driver, and
what was wanted in run/desired.json. Asked to end (`stop`), it ends its replicas first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import aiohttp
import msgspec

from colonnade.drivers import Announced, Driver, DriverEvent, Exited, Life, ReplicaSpec, Started
from colonnade.drivers.records import write_atomically
from colonnade.fleet.clusters import price_version
from colonnade.fleet.epochs import epochs
from colonnade.fleet.home import Home
from colonnade.fleet.meter import STRETCH_MS, Meter, Rate
from colonnade.fleet.orders import (
    Begun,
    Closing,
    Ended,
    Event,
    Listening,
    Note,
    Order,
    Policy,
    Probe,
    Start,
    Stop,
    Tick,
    Wanted,
)
from colonnade.fleet.probe import ask
from colonnade.fleet.reconcile import Reconciler
from colonnade.fleet.spool import Spool
from colonnade.fleet.uplink import Access, Uplink
from colonnade.wire.errors import ColonnadeError
from colonnade.wire.routes import ClusterSpec, Desired, Resources

LOG = logging.getLogger("colonnade.fleet")
FIRST_LOOK_S = 3.0
"""What was found is asked before the first report, so that nothing that serves is reported as starting; no longer."""
LAST_WORDS_S = 1.0


class Agent:
    """`spec_of` turns a Start into what the driver runs. `run` returns when `stop` was called and all is over."""

    def __init__(
        self,
        home: Home,
        cluster: str,
        driver: Driver,
        access: Callable[[], Access],
        spec_of: Callable[[Start], ReplicaSpec],
        policy: Policy | None = None,
        spec: ClusterSpec | None = None,
    ) -> None:
        self._home = home
        self._driver = driver
        self._spec_of = spec_of
        names = epochs()
        self._core = Reconciler(policy or Policy(), names)
        self._desired = _read_desired(home)
        self._spec = spec
        self._spool = Spool(home.usage)
        self._meter = Meter(self._spool.marks, self._rate_of)
        self._uplink = Uplink(cluster, next(names), access, self._desired, self._hear, self._spool, spec)
        self._timer: asyncio.TimerHandle | None = None
        self._found: set[tuple[str, str]] = set()
        self._starting: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._looked = asyncio.Event()
        self._asked_to_stop: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()

    async def run(self, works: Callable[[], None] | None = None) -> None:
        """`works` is called when what was found is taken over. Raises Conflict, in an ExceptionGroup, when another
        agent took the cluster over."""
        await self._driver.open()
        try:
            async with aiohttp.ClientSession() as self._session, asyncio.TaskGroup() as self._tasks:
                await self._live(works)
            await self._uplink.last_words(LAST_WORDS_S)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await self._driver.close()
            self._spool.close()

    def stop(self, reason: str) -> None:
        """End all replicas, and then `run`."""
        if not self._asked_to_stop.done():
            self._asked_to_stop.set_result(reason)

    async def _live(self, works: Callable[[], None] | None) -> None:
        lives = await self._driver.list()
        self._found = {(life.id, life.epoch) for life in lives}
        watching = self._tasks.create_task(self._watch(), name="watch")
        await self._first_look()
        if self._desired is not None:
            self._feed(Wanted(self._desired.deployments))
        talking = self._tasks.create_task(self._uplink.run(), name="uplink")
        metering = self._tasks.create_task(self._go_on_measuring(), name="meter")
        if works is not None:
            works()
        self._feed(Closing(await self._asked_to_stop))
        await self._over.wait()
        for task in (talking, watching, metering, *self._probes):
            task.cancel()

    async def _first_look(self) -> None:
        self._look()
        try:
            await asyncio.wait_for(self._looked.wait(), FIRST_LOOK_S)
        except TimeoutError:
            LOG.warning("%d replicas found do not say whether they are ready", self._core.unprobed())
        if not self._found:
            self._measure()
            self._meter.settle()

    def _look(self) -> None:
        if not self._looked.is_set() and not self._found and not self._core.unprobed():
            self._looked.set()

    async def _watch(self) -> None:
        async for event in self._driver.watch():
            self._happened(event)

    def _happened(self, event: DriverEvent) -> None:
        life = event.life
        match event:
            case Started():
                self._feed(_begun(life))
            case Announced():
                self._feed(Listening(life.id, life.epoch, life.url, life.events))
            case Exited():
                self._feed(Ended(life.id, life.epoch, event.reason))
        if not (isinstance(event, Started) and life.url):  # then its announcement follows
            self._found.discard((life.id, life.epoch))
            self._look()

    def _hear(self, desired: Desired) -> None:
        self._desired = desired
        write_atomically(self._home.desired, msgspec.json.encode(desired))
        self._feed(Wanted(desired.deployments))

    def _feed(self, event: Event) -> None:
        for order in self._core.handle(event, time.monotonic()):
            self._obey(order)
        self._uplink.report(self._core.statuses())
        self._measure()
        self._set_timer()
        self._look()
        if self._asked_to_stop.done() and not self._core.lives():
            self._over.set()

    def _measure(self) -> None:
        stretches = self._meter.look(self._core.statuses(), time.time_ns() // 1_000_000)
        if stretches:
            self._spool.add(stretches)
            self._spool.forget(self._meter.running())
            self._uplink.used()

    async def _go_on_measuring(self) -> None:
        while True:
            await asyncio.sleep(STRETCH_MS / 1000)
            self._measure()

    def _rate_of(self, name: str) -> Rate:
        wanted = self._desired.deployments if self._desired is not None else ()
        takes = next((each.resources for each in wanted if each.name == name), None) or Resources()
        owner, price = (self._spec.owner, price_version(self._spec)) if self._spec is not None else ("managed", "")
        return Rate(takes.type, takes.count, owner, price)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wake = self._core.wake_at()
        delay = None if wake is None else wake - time.monotonic()
        loop = asyncio.get_running_loop()
        self._timer = None if delay is None else loop.call_later(max(0.0, delay), self._feed, Tick())

    def _obey(self, order: Order) -> None:
        match order:
            case Start():
                self._starting[order.id, order.epoch] = self._tasks.create_task(self._start(order))
            case Stop():
                self._tasks.create_task(self._stop(order))
            case Probe():
                task = self._tasks.create_task(self._probe(order))
                self._probes.add(task)
                task.add_done_callback(self._probes.discard)
            case Note():
                LOG.info("%s %s (%s): %s", order.kind, order.id, order.epoch, order.reason)
                self._uplink.tell(order.kind, order.id, order.epoch, order.reason, order.deployment)

    async def _start(self, order: Start) -> None:
        try:
            await self._driver.start(self._spec_of(order))
        except ColonnadeError as error:
            reason = f"{error.message}; {error.hint}" if error.hint else error.message
            self._feed(Ended(order.id, order.epoch, reason))
        finally:
            self._starting.pop((order.id, order.epoch), None)

    async def _stop(self, order: Stop) -> None:
        """After its start, which may still be under way: a driver knows nothing of a life that it has not begun."""
        starting = self._starting.get((order.id, order.epoch))
        if starting is not None:
            await asyncio.wait({starting})
        await self._driver.stop(order.id, order.epoch, order.grace_s)

    async def _probe(self, order: Probe) -> None:
        await asyncio.sleep(order.after_s)
        self._feed(await ask(self._session, order))


def _begun(life: Life) -> Begun:
    """Of a life without our labels (another release's) the id tells enough: it is replaced by one of ours."""
    labels = life.labels
    return Begun(
        id=life.id,
        epoch=life.epoch,
        deployment=labels.get("deployment") or life.id.rpartition("-")[0],
        generation=int(labels.get("generation", 0)),
        template=labels.get("template", ""),
        restarts=int(labels.get("restarts", 0)),
        pid=life.pid,
        started_at=life.started_at,
        stopping=life.stopping,
        log=life.log,
    )


def _read_desired(home: Home) -> Desired | None:
    """None when nothing was ever wanted here, or in words of another version: then the control plane is asked."""
    try:
        return msgspec.json.decode(home.desired.read_bytes(), type=Desired)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        LOG.warning("%s is not understood, asking the control plane: %s", home.desired, error)
        return None
