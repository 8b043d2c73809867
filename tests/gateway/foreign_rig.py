"""Replicas around other engines' servers, and a gateway over them."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import House, Reply, record
from gateway_replica import ASK, Replica

from colonnade.gateway.fetch import get
from colonnade.gateway.server import Gateway
from colonnade.wire.routes import Route, Routes

LONG = {**ASK, "stream": True, "max_tokens": 4000, "ignore_eos": True}
SERVED = "served-here"

Start = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def adapter(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts replicas around other engines' servers."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*flags: str) -> Replica:
        with (tmp_path / "adapter.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "colonnade.replica", "--epoch", "f1", "--served-name", SERVED, *flags),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, "COLONNADE_HOME": str(tmp_path), "PYTHONWARNINGS": "error"},
            )
        started.append(process)
        assert process.stdout is not None
        said = msgspec.json.decode(await process.stdout.readline())
        replica = Replica(process, said["url"], said["events"], said["epoch"])
        replica.route = Route(f"{SERVED}-0", said["epoch"], said["url"], SERVED, said["events"])
        return replica

    yield start
    for process in started:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()  # it ends its engine, too
        await process.wait()


async def ready(replica: Replica) -> None:
    async with asyncio.timeout(90):
        while (await get(f"{replica.route.url}/ready", 5))[0] != 200:
            await asyncio.sleep(0.1)


async def in_front(house: House, *replicas: Replica) -> Gateway:
    gateway = await house.gateway()
    routes = tuple(each.route for each in replicas)
    house.write(Routes(9, routes, (record(),), "00" * 32, models=(SERVED,)))
    gateway.reload()
    return gateway


async def answered(house: House, gateway: Gateway, body: Any) -> Reply:
    """Our server takes a moment from the first signs of health to its first answer."""
    async with asyncio.timeout(90):
        while (reply := await house.ask(gateway, body=body)).status == 503:
            await asyncio.sleep(0.1)
    assert reply.status == 200, reply.body
    return reply


def ask(**fields: Any) -> dict[str, Any]:
    return {**ASK, "model": SERVED, **fields}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
