"""Replicas of the shipped model, forked from a warm process by the local driver: one history, from 1 to 4 and back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from colonnade.cli.waiting import until_ready
from colonnade.drivers import Announced, DriverEvent, Exited, Life, LocalDriver
from colonnade.drivers.process import members
from colonnade.fleet.launch import replica_spec
from colonnade.fleet.orders import Start
from colonnade.wire.routes import Deployment

PATIENCE_S = 60.0
DESK = Deployment("desk", "colonnade-tiny", 4, 1, {"threads": "1", "kv-tokens": "1024"})


class Desk:
    """Lives of one deployment, started without a control plane."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.driver = LocalDriver(home, linger=600.0)
        self.seen: dict[str, DriverEvent] = {}
        self.news = asyncio.Condition()
        self.session = aiohttp.ClientSession()

    async def watch(self) -> None:
        async for event in self.driver.watch():
            async with self.news:
                self.seen[event.life.epoch] = event
                self.news.notify_all()

    async def wait(self, kind: type[Announced] | type[Exited], epoch: str) -> DriverEvent:
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(lambda: isinstance(self.seen.get(epoch), kind))
        return self.seen[epoch]

    async def ended(self, epoch: str) -> str:
        event = await self.wait(Exited, epoch)
        assert isinstance(event, Exited)
        return event.reason

    async def begin(self, epoch: str) -> Life:
        await self.driver.start(replica_spec(Start(f"desk-{epoch}", epoch, DESK, 0), self.home))
        life = (await self.wait(Announced, epoch)).life
        await until_ready(life.url, PATIENCE_S, asyncio.Future(), life.id)
        return life

    async def ask(self, life: Life) -> str:
        body = {"model": "desk", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "temperature": 0}
        async with self.session.post(f"{life.url}/v1/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()
            return (await response.json())["choices"][0]["message"]["content"]

    async def fingerprint(self, life: Life) -> str:
        async with self.session.get(f"{life.url}/v1/models/desk") as response:
            return (await response.json())["fingerprint"]

    async def close(self) -> None:
        lives = await self.driver.list()
        await asyncio.gather(*(self.driver.stop(life.id, life.epoch, 0) for life in lives))
        await self.driver.close()
        await self.session.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.driver.open()
    watching = asyncio.create_task(desk.watch())
    yield desk
    await desk.close()
    await watching


@pytest.mark.timeout(300)
async def test_one_to_four_from_one_warm_process_and_back(desk: Desk) -> None:
    lives = [await desk.begin("e0"), *await asyncio.gather(*(desk.begin(f"e{number}") for number in range(1, 4)))]
    (zygote,) = desk.driver.zygotes()
    assert what_no_fork_carries_over(zygote) == []
    answers = [await desk.ask(life) for life in lives]
    assert len(set(answers)) == 1
    assert len({await desk.fingerprint(life) for life in lives}) == 1
    for life in lives:  # face, engine, templates
        assert len(members(life.pid or 0, f"_COLONNADE_LIFE={life.id}/{life.epoch}")) == 3

    await desk.driver.stop(lives[0].id, lives[0].epoch, PATIENCE_S)
    engine = next(pid for pid in members(lives[1].pid or 0) if pid != lives[1].pid)
    os.kill(engine, signal.SIGKILL)
    os.kill(lives[2].pid or 0, signal.SIGABRT)
    reasons = [await desk.ended(life.epoch) for life in lives[:3]]
    assert reasons[:2] == ["exit 0", "exit 1: engine killed by signal 9 (SIGKILL)"]
    assert reasons[2].startswith("killed by signal 6 (SIGABRT)")
    assert [members(life.pid or 0) for life in lives[:3]] == [[], [], []]

    os.kill(zygote, signal.SIGKILL)
    assert await desk.ask(lives[3]) == answers[0]


def what_no_fork_carries_over(zygote: int) -> list[str]:
    """Of a process: more threads than one, torch, OpenMP, CUDA; loops, pipes, and sockets but that to its driver."""
    found = os.listdir(f"/proc/{zygote}/task")[1:]
    mapped = Path(f"/proc/{zygote}/maps").read_text()
    found += [name for name in ("libtorch", "libgomp", "libiomp", "libcuda") if name in mapped]
    held = [os.readlink(each) for each in Path(f"/proc/{zygote}/fd").iterdir() if each.is_symlink()]
    found += [name for name in held if name.startswith(("anon_inode:", "pipe:"))]
    return found + [name for name in held if name.startswith("socket:")][1:]
