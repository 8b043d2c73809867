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
import openai
import pytest
from gateway_house import KEY, House, record
from gateway_replica import ASK, Replica

from colonnade.gateway.server import Gateway
from colonnade.wire.routes import Route, Routes
from colonnade.wire.settings import GatewaySettings

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


async def ready(house: House, replica: Replica) -> None:
    """It answers. A gateway of its own holds the request until it is there; the client asks again where the engine
    behind it takes a moment from its first signs of health to its first answer."""
    patient = await in_front(house, replica, hold_timeout=180.0)
    async with (
        asyncio.timeout(180),
        openai.AsyncOpenAI(base_url=f"{patient.url}/v1", api_key=KEY, max_retries=1000) as client,
    ):
        await client.chat.completions.create(**ask(max_tokens=1))


async def in_front(house: House, *replicas: Replica, hold_timeout: float = 0.0) -> Gateway:
    gateway = await house.gateway(settings=GatewaySettings(port=0, shutdown_timeout=0.2, hold_timeout=hold_timeout))
    routes = tuple(each.route for each in replicas)
    house.write(Routes(9, routes, (record(),), "00" * 32, models=(SERVED,)))
    gateway.reload()
    return gateway


def ask(**fields: Any) -> dict[str, Any]:
    return {**ASK, "model": SERVED, **fields}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
