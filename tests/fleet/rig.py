"""A whole fleet in the test's own loop: control plane over HTTP, agent, driver, and stand-in replicas as processes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from msgspec.structs import replace

from colonnade.drivers import LocalDriver, ReplicaSpec
from colonnade.fleet.agent import Agent
from colonnade.fleet.api import application
from colonnade.fleet.change import Change
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.home import Home
from colonnade.fleet.launch import labels
from colonnade.fleet.orders import Policy, Start
from colonnade.fleet.run import listen, server_of
from colonnade.fleet.sqlite import SqliteStore
from colonnade.fleet.uplink import Access
from colonnade.wire.routes import Deployment, Observed, ReplicaStatus

TOKEN = "the-admin-token"
PATIENCE_S = 30.0
STAND_IN = Path(__file__).parents[1] / "drivers" / "stand_in.py"
FAST = Policy(health_probe_s=0.05, backoff_first_s=0.05, drain_s=5.0)


class WatchedPlane(ControlPlane):
    """Lets a test wait for a report."""

    news: asyncio.Condition
    beaten: asyncio.Event

    def beat(self, name: str, agent: str) -> None:
        super().beat(name, agent)
        self.beaten.set()

    async def until_heard(self, cluster: str, since: float) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (self._seen.get(cluster) or 0.0) < since:
                self.beaten.clear()
                await self.beaten.wait()

    async def _take(self, observed: Observed) -> None:
        await super()._take(observed)
        async with self.news:
            self.news.notify_all()

    async def _keep(self, wanted: Deployment, kind: str, reason: str) -> Deployment:
        kept = await super()._keep(wanted, kind, reason)
        async with self.news:
            self.news.notify_all()
        return kept


class Rig:
    """`deploy`'s model is the stand-in's command line: "--crash-at-start", or "" for one that behaves."""

    def __init__(
        self, folder: Path, policy: Policy = FAST, spec_of: Callable[[Start], ReplicaSpec] | None = None
    ) -> None:
        self.home = Home(folder)
        self.spec_of = spec_of or stand_in
        self.policy = policy
        self.lost_after = 20.0
        self.clock: Callable[[], float] = time.time
        self.news = asyncio.Condition()
        self.url = ""
        self.plane: WatchedPlane
        self.agent: Agent
        self._store: SqliteStore
        self._server: uvicorn.Server
        self._serving: asyncio.Task[None]
        self._running: asyncio.Task[None] | None = None

    async def start_control(self) -> None:
        self._store = await SqliteStore.open(self.home.database)
        opened = await WatchedPlane.open(self._store, clock=self.clock, lost_after=self.lost_after)
        assert isinstance(opened, WatchedPlane)
        self.plane = opened
        self.plane.news, self.plane.beaten = self.news, asyncio.Event()
        listener = listen(int(self.url.rpartition(":")[2] or 0), fallback=False)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = server_of(application(self.plane, TOKEN))
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop_control(self) -> None:
        self.plane.close()
        self._server.should_exit = True
        await self._serving
        await self._store.close()

    def start_agent(self) -> None:
        access = Access(self.url, TOKEN)
        driver = LocalDriver(self.home.path)
        self.agent = Agent(self.home, "local", driver, lambda: access, self.spec_of, self.policy)
        self._running = asyncio.create_task(self.agent.run())

    async def kill_agent(self) -> None:
        """As SIGKILL would: nothing is told to end."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait({self._running})
        self._running = None

    async def stop_agent(self) -> None:
        if self._running is not None:
            self.agent.stop("the test is over")
            await self._running
            self._running = None

    async def agents_error(self) -> BaseException | None:
        assert self._running is not None
        await asyncio.wait({self._running})
        error = self._running.exception()
        self._running = None
        return error

    async def deploy(self, replicas: int = 1, flags: str = "") -> None:
        await self.plane.deploy("a", Change(f"stand-in {flags}", replicas))

    def replicas(self) -> list[ReplicaStatus]:
        return [status for _, status in self.plane.replicas()]

    def states(self) -> dict[str, str]:
        return {status.id: status.state for status in self.replicas()}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(condition)

    async def until_ready(self, *ids: str) -> list[ReplicaStatus]:
        """Exactly these, and all ready."""
        await self.until(lambda: self.states() == dict.fromkeys(ids, "ready"))
        return self.replicas()


def stand_in(start: Start) -> ReplicaSpec:
    flags = start.deployment.model.split()[1:]
    argv = (sys.executable, "-S", str(STAND_IN), "--epoch", start.epoch, *flags)
    spec = ReplicaSpec(id=start.id, epoch=start.epoch, argv=argv, labels=labels(start))
    return replace(spec, argv=("/nowhere/at-all",)) if "--no-program" in flags else spec
