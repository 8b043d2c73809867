"""What every driver must do. A test module inherits `DriverConformance` and has a fixture `make`.

The replicas are real: tests/drivers/stand_in.py, started by the driver under test.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from colonnade.drivers import Announced, Driver, DriverEvent, Exited, Life, ReplicaSpec, Started
from colonnade.wire.errors import SetupError

E = TypeVar("E", Started, Announced, Exited)
PATIENCE_S = 30.0
STAND_IN = Path(__file__).with_name("stand_in.py")


def spec(id: str, epoch: str, *flags: str, labels: dict[str, str] | None = None) -> ReplicaSpec:
    argv = (sys.executable, "-S", str(STAND_IN), "--epoch", epoch, *flags)
    return ReplicaSpec(id=id, epoch=epoch, argv=argv, labels=labels or {})


class Watcher:
    """Collects a driver's events and lets a test wait for one."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.seen: list[DriverEvent] = []
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async for event in self.driver.watch():
            async with self._news:
                self.seen.append(event)
                self._news.notify_all()

    def find(self, kind: type[E], epoch: str) -> E | None:
        return next((e for e in self.seen if isinstance(e, kind) and e.life.epoch == epoch), None)

    async def wait(self, kind: type[E], epoch: str, within: float = PATIENCE_S) -> E:
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: self.find(kind, epoch) is not None)
        found = self.find(kind, epoch)
        assert found is not None
        return found

    async def close(self) -> None:
        await self.driver.close()
        await self._task


async def get(life: Life, path: str) -> tuple[int, object]:
    async with aiohttp.ClientSession() as session, session.get(life.url + path) as response:
        return response.status, await response.json(content_type=None)


class DriverConformance:
    """`make()` gives a new driver of the same pool each time: what one started, the next one finds."""

    @pytest.fixture
    async def watcher(self, make: Callable[[], Driver]) -> AsyncIterator[Watcher]:
        driver = make()
        await driver.open()
        watcher = Watcher(driver)
        yield watcher
        await self.end(watcher)

    async def end(self, watcher: Watcher) -> None:
        lives = await watcher.driver.list()
        await asyncio.gather(*(watcher.driver.stop(life.id, life.epoch, 0) for life in lives))
        await watcher.close()

    async def test_a_life_from_start_to_stop(self, watcher: Watcher) -> None:
        await watcher.driver.start(spec("a-0", "e1", labels={"deployment": "a"}))
        announced = await watcher.wait(Announced, "e1")
        assert announced.life.labels == {"deployment": "a"}
        assert (await get(announced.life, "/ready"))[0] == 200
        assert [life.epoch for life in await watcher.driver.list()] == ["e1"]
        await watcher.driver.stop("a-0", "e1", 5)
        exited = await watcher.wait(Exited, "e1")
        assert exited.reason == "exit 0"
        assert [type(event) for event in watcher.seen] == [Started, Announced, Exited]
        assert await watcher.driver.list() == ()

    async def test_verbs_may_be_repeated(self, watcher: Watcher) -> None:
        await watcher.driver.start(spec("a-0", "e1"))
        await watcher.driver.start(spec("a-0", "e1"))
        assert len(await watcher.driver.list()) == 1
        await asyncio.gather(*(watcher.driver.stop("a-0", "e1", 5) for _ in range(3)))
        await watcher.driver.stop("a-0", "e1", 5)
        await watcher.driver.stop("never-0", "e0", 5)
        await watcher.wait(Exited, "e1")
        assert sum(isinstance(event, Exited) for event in watcher.seen) == 1

    async def test_two_lives_of_one_id_are_two(self, watcher: Watcher) -> None:
        await watcher.driver.start(spec("a-0", "e1"))
        await watcher.driver.start(spec("a-0", "e2"))
        second = await watcher.wait(Announced, "e2")
        await watcher.driver.stop("a-0", "e1", 5)
        assert [life.epoch for life in await watcher.driver.list()] == ["e2"]
        assert (await get(second.life, "/live"))[0] == 200

    async def test_what_ends_unasked_says_why(self, watcher: Watcher) -> None:
        await watcher.driver.start(spec("a-0", "e1", "--crash-at-start"))
        exited = await watcher.wait(Exited, "e1")
        assert exited.reason == "exit 3: stand-in: told to crash"
        assert watcher.find(Announced, "e1") is None

    async def test_the_deaf_are_killed_after_the_grace(self, watcher: Watcher) -> None:
        await watcher.driver.start(spec("a-0", "e1", "--deaf"))
        await watcher.wait(Announced, "e1")
        await watcher.driver.stop("a-0", "e1", 0.2)
        assert (await watcher.wait(Exited, "e1")).reason == "killed by signal 9 (SIGKILL)"

    async def test_a_second_stop_may_shorten_the_grace_but_not_lengthen_it(self, watcher: Watcher) -> None:
        await watcher.driver.start(spec("a-0", "e1", "--deaf"))
        await watcher.wait(Announced, "e1")
        patient = asyncio.create_task(watcher.driver.stop("a-0", "e1", 600))
        await asyncio.sleep(0)
        await watcher.driver.stop("a-0", "e1", 0.1)
        await patient
        assert await watcher.driver.list() == ()

    async def test_a_command_that_cannot_run_is_refused(self, watcher: Watcher) -> None:
        with pytest.raises(SetupError, match="a-0") as refused:
            await watcher.driver.start(ReplicaSpec(id="a-0", epoch="e1", argv=("/nowhere/at-all",)))
        assert refused.value.hint
        assert await watcher.driver.list() == ()

    async def test_logs_hold_former_lives(self, watcher: Watcher) -> None:
        for epoch in ("e1", "e2"):
            await watcher.driver.start(spec("a-0", epoch, "--crash-at-start"))
            await watcher.wait(Exited, epoch)
        assert (await watcher.driver.logs("a-0", 100)).count("told to crash") == 2
        assert (await watcher.driver.logs("a-0", 1)).count("told to crash") == 1
        assert await watcher.driver.logs("never-0", 10) == ""

    async def test_lives_outlive_the_driver(self, make: Callable[[], Driver], watcher: Watcher) -> None:
        for id, epoch in (("a-0", "e1"), ("b-0", "e2")):
            await watcher.driver.start(spec(id, epoch, labels={"n": epoch}))
            await watcher.wait(Announced, epoch)
        before = {life.epoch: life for life in await watcher.driver.list()}
        await watcher.close()
        assert (await get(before["e1"], "/live"))[0] == 200
        next_driver = make()
        await next_driver.open()
        found = Watcher(next_driver)
        assert (await found.wait(Announced, "e1")).life == before["e1"]
        assert (await found.wait(Announced, "e2")).life.labels == {"n": "e2"}
        await self.end(found)
        assert {event.life.epoch for event in found.seen if isinstance(event, Exited)} == {"e1", "e2"}

    async def test_capabilities(self, watcher: Watcher) -> None:
        found = await watcher.driver.capabilities()
        assert found.driver
        assert min(found.machines, found.cores, found.memory) >= 1
