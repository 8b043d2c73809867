"""The control plane killed at every step of every operation: what was asked comes to be, once, and the log has it all.

One history of a deployment, from its first replica to its removal, is gone through again and again, with a kill at the
next step each time, until no step is left. Its cluster is virtual, its agent's core is the real one, and so are the
control plane and its database.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from stepped_store import Killed, Steps, open_stepped
from test_fleet_processes import Fleet
from virtual_fleet import START_S, VirtualFleet

from colonnade.fleet.control import Change, ControlPlane
from colonnade.fleet.orders import Note, Order, Wanted
from colonnade.wire.errors import Conflict
from colonnade.wire.routes import Demand, Demands, Happening, Observed, Scaling

Operation = Callable[[ControlPlane], Awaitable[object]]
SCALING = Scaling(1, 4, target=1.0)


class Cluster(VirtualFleet):
    """With an agent's memory of what it has told, and what it has been told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Happening] = []
        self.unheard: list[Happening] = []
        self.starts: list[tuple[str, int]] = []
        self.revision = -1
        self._sequence = 0

    def _obey(self, order: Order) -> None:
        if isinstance(order, Note):
            number = len(self.told) + 1
            happened = Happening("local/a1", number, 0.0, order.kind, order.id, order.reason, "local", order.epoch)
            self.told.append(happened)
            self.unheard.append(happened)
        if order.__class__.__name__ == "Start":
            self.starts.append((order.id, order.deployment.generation))  # type: ignore[union-attr]
        super()._obey(order)

    async def sync(self, plane: ControlPlane) -> None:
        """As `fleet.uplink`: what was not acknowledged is told again."""
        self._sequence += 1
        events = tuple(self.unheard)
        report = Observed("local", self.revision, self.core.statuses(), "a1", self._sequence, events)
        desired = await plane.sync(report, 0.0)
        self.unheard = self.unheard[len(events) :]
        if desired.revision != self.revision:
            self.revision = desired.revision
            self.feed(Wanted(desired.deployments))
        self.settle(self.now + START_S)


class World:
    """A control plane that is begun again whenever it was killed, and everyone who talks to it."""

    def __init__(self, folder: Path, kill_at: int) -> None:
        self._path = folder / f"{kill_at}.db"
        self.steps = Steps(kill_at, _raise)
        self.cluster = Cluster()
        self.kills = 0
        self._now = 1000.0

    async def open(self) -> None:
        try:
            self.store = await open_stepped(self._path, self.steps)
            self.plane = await ControlPlane.open(self.store, clock=lambda: self._now)
        except Killed:
            await self._again()

    async def _again(self) -> None:
        await self.store.close()
        self.kills += 1
        self.steps = Steps(0, _raise)
        await self.open()

    async def ask(self, operation: Operation) -> None:
        """A caller whose connection broke asks again."""
        try:
            await operation(self.plane)
        except Killed:
            await self._again()
            await operation(self.plane)

    async def settle(self) -> None:
        for _ in range(6):
            await self.ask(self.cluster.sync)

    async def demand(self, plane: ControlPlane) -> None:
        self._now += 1.0
        await plane.take_demand(Demands("gateway", (Demand("a", 8, 0),)))
        await plane.autoscale()


def _raise() -> None:
    raise Killed


def deployed(replicas: int, **settings: str) -> Operation:
    return lambda plane: plane.deploy("a", Change("colonnade-tiny", replicas, settings))


async def key(plane: ControlPlane) -> None:
    """Its value was lost with the connection, so it is made anew."""
    try:
        await plane.keys.create("desk")
    except Conflict:
        await plane.keys.revoke("desk")
        await plane.keys.create("desk")


async def gone(plane: ControlPlane) -> None:
    if plane.deployments():
        await plane.remove("a")


async def live(world: World) -> None:
    """The history. After each operation the cluster is what was asked for."""
    await world.open()
    await world.settle()
    for operation, replicas in (
        (deployed(2), 2),
        (key, 2),
        (deployed(3), 3),
        (deployed(3, threads="1"), 3),
        (deployed(1, threads="1"), 1),
        (lambda plane: plane.deploy("a", Change("colonnade-tiny", 1, {"threads": "1"}, scaling=SCALING)), 1),
        (world.demand, 2),
        (gone, 0),
    ):
        await world.ask(operation)
        await world.settle()
        assert len(world.cluster.alive) == replicas == world.cluster.core.lives()
    await world.store.close()


async def logged(world: World, folder: Path) -> list[Happening]:
    store = await open_stepped(world._path, Steps(0, _raise))
    events = [each.event for each in await store.events(0, 10_000)]
    await store.close()
    return events


@pytest.mark.timeout(300)
async def test_killed_at_every_step_it_converges_and_nothing_is_started_or_told_twice(tmp_path: Path) -> None:
    calm = World(tmp_path, 0)
    await live(calm)
    expected = [(each.kind, each.subject) for each in await logged(calm, tmp_path) if each.source != "local/a1"]
    assert len(set(calm.steps.names)) > 8, "the history goes through more than a few kinds of steps"
    for at in range(1, calm.steps.taken + 1):
        world = World(tmp_path, at)
        await live(world)
        step = f"killed at step {at}, {calm.steps.names[at - 1]}"
        assert world.kills == 1, step
        assert world.cluster.starts == calm.cluster.starts, step
        events = await logged(world, tmp_path)
        assert [each for each in events if each.source == "local/a1"] == world.cluster.told, step
        decided = [(each.kind, each.subject) for each in events if each.source != "local/a1"]
        renewed = [("key revoked", "desk"), ("key created", "desk")] if decided != expected else []
        position = expected.index(("key created", "desk")) + 1
        assert decided == [*expected[:position], *renewed, *expected[position:]], step


KILLED_CONTROL = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
from stepped_store import Steps, SteppedConnection
from colonnade.fleet import sqlite
from colonnade.fleet.__main__ import main
steps = Steps(sys.argv.pop(1), lambda: os.kill(os.getpid(), signal.SIGKILL), "INSERT OR REPLACE INTO deployments")
connect = sqlite._connect
sqlite._connect = lambda path: SteppedConnection(connect(path), steps)
sys.exit(main())
"""


@pytest.mark.parametrize("at", ["commit", "committed, not told"])
async def test_a_real_process_killed_in_a_write_leaves_all_of_it_or_nothing(tmp_path: Path, at: str) -> None:
    """SIGKILL before the commit, and behind it, ahead of the answer."""
    fleet = Fleet(tmp_path)
    argv = ("-c", KILLED_CONTROL, str(Path(__file__).parent), at, "control", "--home", str(tmp_path))
    first = await asyncio.create_subprocess_exec(
        sys.executable, *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    fleet.processes.append(first)
    body = {"model": "colonnade-tiny", "replicas": 1}
    try:
        assert first.stdout
        await first.stdout.readline()
        with pytest.raises(aiohttp.ClientConnectionError):
            await fleet.call("PUT", "/v1/deployments/a", body)
        assert await first.wait() == -signal.SIGKILL
        await fleet.start("control")
        found = b'"data":[{' in (await fleet.call("GET", "/v1/deployments")).replace(b" ", b"")
        await fleet.call("PUT", "/v1/deployments/a", body)
        told = await fleet.call("GET", "/v1/events")
        assert told.count(b'"deployed"') == 1
        assert found == (at != "commit")
    finally:
        await fleet.close()
