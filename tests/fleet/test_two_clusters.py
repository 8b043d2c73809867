"""Two clusters in two zones: two agents with homes of their own, and a wire to each that is slow and can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rig import FAST, TOKEN, Rig, stand_in

from colonnade.drivers import LocalDriver, stop_all
from colonnade.fleet.agent import Agent
from colonnade.fleet.change import Change
from colonnade.fleet.home import Home
from colonnade.fleet.run import look_after
from colonnade.fleet.uplink import Access
from colonnade.wire.routes import ClusterSpec, Offer, Placement

LOST_S = 20.0
DELAY_S = 0.02
"""On each wire. Nothing here depends on it: time passes for the control plane only when the test says so."""


class Wire:
    """To the control plane, by TCP: each piece takes its time; cut, nothing passes and nothing connects."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def mend(self) -> None:
        port = int(self.url.rpartition(":")[2] or 0)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, out = await asyncio.open_connection("127.0.0.1", self._port)
        for pair in ((reader, out), (far, writer)):
            task = asyncio.create_task(self._pass(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(DELAY_S)
                writer.write(data)
        except ConnectionError:
            return
        finally:
            writer.close()


class Cluster:
    """An agent with a home of its own; it dials out, nothing dials in."""

    def __init__(self, folder: Path, spec: ClusterSpec, wire: Wire) -> None:
        self.wire = wire
        self.folder = folder
        driver = LocalDriver(folder)
        access = Access(wire.url, TOKEN)
        self.agent = Agent(Home(folder), spec.name, driver, lambda: access, stand_in, FAST, spec)
        self.running = asyncio.create_task(self.agent.run())

    async def stop(self) -> None:
        self.agent.stop("the test is over")
        await self.running
        await stop_all(self.folder, 0)
        await self.wire.cut()


MINE = ClusterSpec("mine", zone="eu", owner="byo", resources={"cpu": Offer(2, price=1.0)})
RENTED = ClusterSpec("rented", zone="us", resources={"cpu": Offer(8, committed=0, price=9.0)})


class World(Rig):
    async def start(self) -> None:
        self.now = 1_800_000_000.0
        self.clock = lambda: self.now
        self.lost_after = LOST_S
        await self.start_control()
        self.looking = asyncio.create_task(look_after(self.plane))
        self.clusters = {spec.name: await self._cluster(spec) for spec in (MINE, RENTED)}
        await self.until(lambda: len(self.plane.clusters()) == 2)

    async def _cluster(self, spec: ClusterSpec) -> Cluster:
        wire = Wire(int(self.url.rpartition(":")[2]))
        await wire.mend()
        return Cluster(self.home.path / spec.name, spec, wire)

    async def stop(self) -> None:
        self.looking.cancel()
        for each in self.clusters.values():
            await each.stop()
        await self.stop_control()

    async def want(self, name: str, replicas: int, *zones: str) -> None:
        await self.plane.deploy(name, Change(f"stand-in --{name}", replicas, placement=Placement(zones, overflow=True)))

    async def pass_time(self, seconds: float, heard: str) -> None:
        """In halves; after each, this cluster is heard."""
        for _ in range(2):
            self.now += seconds / 2
            await self.plane.until_heard(heard, self.now)

    def places(self) -> dict[str, dict[str, int]]:
        """Ready replicas, by cluster and deployment, as they were told last."""
        found: dict[str, dict[str, int]] = {"mine": {}, "rented": {}}
        for cluster, status in self.plane.replicas():
            if status.state == "ready":
                found[cluster][status.deployment] = found[cluster].get(status.deployment, 0) + 1
        return found

    async def until_at(self, mine: dict[str, int], rented: dict[str, int]) -> None:
        await self.until(lambda: self.places() == {"mine": mine, "rented": rented})

    async def told(self, kind: str) -> list[str]:
        await self.plane.settle()  # what was decided is written down with the next look
        return [each.event.reason for each in await self.plane.events(0, 500) if each.event.kind == kind]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.start()
    yield world
    await world.stop()


async def test_overflow_when_its_own_is_full_or_gone_and_back_and_never_out_of_the_zone(world: World) -> None:
    await world.want("bound", 1, "eu")
    await world.want("free", 1)
    await world.until_at({"bound": 1, "free": 1}, {})
    before = {status.id: status.epoch for _, status in world.plane.replicas()}

    await world.want("free", 3)  # full
    await world.until_at({"bound": 1, "free": 1}, {"free": 2})
    await world.want("free", 1)
    await world.until_at({"bound": 1, "free": 1}, {})

    await world.clusters["mine"].wire.cut()  # gone
    await world.pass_time(LOST_S + 2, heard="rented")
    await world.until(lambda: world.places()["rented"] == {"free": 1})
    assert world.plane.clusters()[0].lost == "not heard for 20 s"
    assert all(deployment != "bound" for deployment in world.places()["rented"])

    await world.clusters["mine"].wire.mend()  # and back: what it ran went on all the time
    await world.until_at({"bound": 1, "free": 1}, {})
    assert {status.id: status.epoch for _, status in world.plane.replicas() if status.state == "ready"} == before

    placed, unplaced = await world.told("placed"), await world.told("unplaced")
    assert "0 -> 2 on rented: overflow: own and committed room is for 1 of 3" in placed
    assert "1 -> 0 on mine: not heard for 20 s" in placed
    assert "0 -> 1 on rented: overflow: own and committed room is for 0 of 1" in placed
    assert "1 -> 0 on rented: others have room of their own" in placed
    assert unplaced == ["1 without a place: mine: not heard for 20 s"]
