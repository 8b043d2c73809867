"""The driver of a Ray cluster: five verbs and a watch over the hosts of its nodes.

    start   reserve (a placement group) -> the node that Ray chose -> its host starts the replica
    watch   a long poll of each host; a node that Ray calls dead, or whose host is silent too long, is given up

What is known and what follows from it is in `nodes.Nodes`; every call of Ray's API is in `cluster.Cluster`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from colonnade.drivers.base import Capabilities, DriverEvent, Exited, Life, ReplicaSpec
from colonnade.drivers.local import LOG_LIMIT
from colonnade.drivers.output import joined
from colonnade.drivers.ray.attendant import Attendant
from colonnade.drivers.ray.cluster import Cluster
from colonnade.drivers.ray.host import HostOptions, Refused
from colonnade.drivers.ray.nodes import Key, News, Node, Nodes
from colonnade.drivers.ray.own import OwnCluster
from colonnade.wire.errors import SetupError

LOST_AFTER_S = 15.0
"""Less than the 20 s in which a lost node has to be noticed; more than a host takes to begin again."""
OPEN_S = 60.0
"""Hosts are waited for so long, when a driver is opened."""
ROOM_S = 5.0
"""What has no place by then is told of as waiting, and goes on waiting."""
_LOOK_S = 1.0
_FIRST_LOOK_S = 0.05
_log = logging.getLogger("colonnade.drivers")


class RayDriver:
    """`home`: the state folder; a node's own is below it, on the node's disk. `address`: of a Ray cluster that this
    machine belongs to, `auto` for the one that runs here; empty: one is begun on this machine, and ends when the
    driver is closed and no life is left. `name`: tells what is ours in the Ray cluster. The others as `LocalDriver`."""

    def __init__(
        self,
        home: Path,
        address: str = "",
        name: str = "local",
        *,
        log_limit: int = LOG_LIMIT,
        linger: float = 0.0,
        lost_after: float = LOST_AFTER_S,
    ) -> None:
        self._home = home
        self._address = address
        self._own = OwnCluster(home)
        self._cluster = Cluster(name)
        self._supervision = (log_limit, linger)
        self._lost_after = lost_after
        self._nodes = Nodes()
        self._hosts: dict[str, Attendant] = {}
        self._over: dict[Key, asyncio.Event] = {}
        self._starting: dict[Key, asyncio.Task[None]] = {}
        self._places: dict[Key, asyncio.Future[str]] = {}
        self._placing = asyncio.Event()
        self._pace = _FIRST_LOOK_S
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: asyncio.Queue[DriverEvent | None] = asyncio.Queue()

    async def open(self) -> None:
        """Raises SetupError when the Ray cluster cannot be joined, or begun."""
        address = self._address or await self._own.begin()
        await asyncio.to_thread(self._cluster.connect, address)
        await self._look()
        await self._first_news()
        for key in await asyncio.to_thread(self._cluster.places):
            if key not in self._nodes.lives:  # a start that its agent did not live to see through
                await asyncio.to_thread(self._cluster.release, key)
        self._spawn(self._again_and_again())
        self._spawn(self._find_places())

    async def _first_news(self) -> None:
        waiting = [asyncio.create_task(host.heard.wait()) for host in self._hosts.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=OPEN_S)
        for task in waiting:
            task.cancel()

    async def close(self) -> None:
        tasks = [*self._tasks, *self._starting.values(), *(host.task for host in self._hosts.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._cluster.disconnect)
        if not self._address and not self._nodes.lives:
            await self._own.end()
        self._nodes = Nodes()
        for over in self._over.values():
            over.set()
        self._over.clear()
        self._events.put_nowait(None)

    async def capabilities(self) -> Capabilities:
        has = [node.resources for node in self._nodes.nodes.values()]
        cores, memory, gpus = (int(sum(each.get(name, 0) for each in has)) for name in ("CPU", "memory", "GPU"))
        return Capabilities(driver="ray", machines=len(has), cores=cores, memory=memory, gpus=gpus)

    async def start(self, spec: ReplicaSpec) -> None:
        """Returns too when there is no room yet: it waits then, and its Exited says what stood against it."""
        key = (spec.id, spec.epoch)
        if key in self._nodes.lives:
            return
        place = self._places[key] = asyncio.get_running_loop().create_future()
        self._over[key] = asyncio.Event()
        starting = self._starting[key] = asyncio.create_task(self._start(spec, self._nodes.target(spec)))
        starting.add_done_callback(lambda _: self._starting.pop(key, None))
        self._nodes.begin(spec, time.time())
        await asyncio.wait({starting, place}, timeout=ROOM_S, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() or place.done():
            await self._see_through(key, starting)
        else:
            self._tell(self._nodes.waits(key))
            self._spawn(self._late(key, starting))

    async def _see_through(self, key: Key, starting: asyncio.Task[None]) -> None:
        try:
            await starting
        except BaseException:
            self._tell(self._nodes.over(key, "it could not be started"))
            self._ended(key)
            raise

    async def _late(self, key: Key, starting: asyncio.Task[None]) -> None:
        try:
            await starting
        except SetupError as error:
            self._tell(self._nodes.over(key, error.message))

    async def _start(self, spec: ReplicaSpec, target: str) -> None:
        key = (spec.id, spec.epoch)
        await asyncio.to_thread(self._cluster.reserve, spec, target)
        self._pace = _FIRST_LOOK_S
        self._placing.set()
        node = await self._places[key]
        if node not in self._hosts:  # it has joined just now
            await self._look()
        if node not in self._hosts:
            raise SetupError("the node that Ray chose was lost", hint="`ray status` shows the nodes")
        said: Life | Refused | None = await self._hosts[node].ask("start", spec)
        if isinstance(said, Refused):
            raise SetupError(said.message, hint=said.hint)
        if said is not None:
            self._tell(self._nodes.begun(key, node, said))

    async def stop(self, id: str, epoch: str, grace: float) -> None:
        key = (id, epoch)
        over = self._over.get(key)
        if over is None:
            return
        place, starting = self._places.get(key), self._starting.get(key)
        if place is not None and not place.done():
            place.set_exception(SetupError(f"{id} was stopped before there was room for it"))
        if starting is not None:
            await asyncio.wait({starting})
        node = self._nodes.stopping(key)
        asking = self._spawn(self._hosts[node].ask("stop", id, epoch, grace)) if node in self._hosts else None
        await over.wait()
        if asking is not None:
            asking.cancel()

    async def list(self) -> tuple[Life, ...]:
        return tuple(placed.life for placed in self._nodes.lives.values() if placed.told)

    async def logs(self, id: str, tail: int) -> str:
        asked = [asyncio.create_task(host.ask("logs", id, tail)) for host in self._hosts.values()]
        said = await asyncio.gather(*asked, return_exceptions=True)
        return joined({name: text for each in said if isinstance(each, dict) for name, text in each.items()}, tail)

    async def watch(self) -> AsyncIterator[DriverEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    def hosts(self) -> dict[str, int]:
        """The pids of the hosts that were heard, by the name of their node."""
        runs = {host.node.name: self._nodes.heard_of(id)[0] for id, host in self._hosts.items()}
        return {name: int(run.partition(".")[0]) for name, run in runs.items() if run}

    def _tell(self, events: Iterable[DriverEvent]) -> None:
        for event in events:
            key = (event.life.id, event.life.epoch)
            self._over.setdefault(key, asyncio.Event())
            self._events.put_nowait(event)
            if isinstance(event, Exited):
                self._ended(key)

    def _ended(self, key: Key) -> None:
        self._places.pop(key, None)
        over = self._over.pop(key, None)
        if over is not None:
            over.set()
        self._spawn(self._release(key))

    async def _release(self, key: Key) -> None:
        try:
            await asyncio.to_thread(self._cluster.release, key)
        except SetupError as error:
            _log.warning("what %s reserved is not given back: %s", key, error.message)

    async def _again_and_again(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._look()
            except SetupError as error:
                _log.warning("%s", error.message)

    async def _look(self) -> None:
        """Attend to nodes that have come, and give up those that Ray calls dead."""
        alive = await asyncio.to_thread(self._cluster.nodes)
        for id in set(self._hosts) - set(alive):
            host = self._hosts.pop(id)
            host.task.cancel()
            host.lose(f"the Ray node {host.node.name} is dead")
            self._nodes.forget(id)
        for id in set(alive) - set(self._hosts):
            self._hosts[id] = self._attendant(alive[id])

    def _attendant(self, node: Node) -> Attendant:
        options = HostOptions(str(self._home / "nodes" / node.name), node.address, *self._supervision)

        def hear(news: News) -> list[Key]:
            self._nodes.appeared(node)
            events, fenced = self._nodes.news(node.id, news)
            self._tell(events)
            return fenced

        return Attendant(
            node,
            partial(self._cluster.host, node, options),
            partial(self._nodes.heard_of, node.id),
            hear,
            lambda reason: self._tell(self._nodes.lost(node.id, reason)),
            self._lost_after,
        )

    async def _find_places(self) -> None:
        """One look at all reservations for all that wait, ever more seldom while nothing comes of it."""
        while True:
            await self._placing.wait()
            waiting = [key for key, place in self._places.items() if not place.done()]
            if not waiting:
                self._placing.clear()
                continue
            try:
                self._placed(await asyncio.to_thread(self._cluster.places))
            except SetupError as error:
                _log.warning("%s", error.message)
            await asyncio.sleep(self._pace)
            self._pace = min(self._pace * 1.5, _LOOK_S)

    def _placed(self, places: Mapping[Key, str]) -> None:
        for key, place in self._places.items():
            if not place.done() and places.get(key):
                self._nodes.place(key, places[key])
                place.set_result(places[key])

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
