"""The shipped model served by a real replica, and a gateway over it. Its engine takes seconds to start."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import House, record

from colonnade.engine.folder import SHIPPED
from colonnade.gateway.server import Gateway
from colonnade.wire.routes import Route, Routes
from colonnade.wire.settings import GatewaySettings

MODEL = "colonnade-tiny"
ASK: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is 3 plus 4?"}],
    "max_tokens": 24,
}


class Replica:
    def __init__(self, process: asyncio.subprocess.Process, url: str, events: str, epoch: str) -> None:
        self.process = process
        self.route = Route(f"{MODEL}-0", epoch, url, MODEL, events)


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "colonnade.replica", "--model", str(SHIPPED / MODEL), "--port", "0", "--epoch", "e1"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "COLONNADE_HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    said = msgspec.json.decode(await process.stdout.readline())
    yield Replica(process, said["url"], said["events"], said["epoch"])
    if process.returncode is None:
        process.kill()
    await process.communicate()


@pytest.fixture
async def gateway(house: House, replica: Replica) -> Gateway:
    """Over a replica that has loaded its model."""
    made = await house.gateway(settings=GatewaySettings(port=0, shutdown_timeout=0.2, hold_timeout=180.0))
    house.write(Routes(9, (replica.route,), (record(),), "00" * 32, models=(MODEL,)))
    made.reload()
    client = await house.client(made)
    client.post(body=ASK)  # it waits at the gateway until the replica is ready
    assert (await client.reply()).status == 200
    made.plane.settings = replace(made.plane.settings, hold_timeout=0.0)
    return made
