"""Two real replicas of the shipped model behind one gateway: conversations stay where their prefix is."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import House, record, until

from colonnade.engine.folder import SHIPPED
from colonnade.gateway.server import Gateway
from colonnade.wire.prefix import links
from colonnade.wire.routes import Route, Routes
from colonnade.wire.settings import GatewaySettings

MODEL = "colonnade-tiny"


class Fleet:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self, name: str, epoch: str) -> Route:
        argv = ("--model", str(SHIPPED / MODEL), "--epoch", epoch, "--threads", "1", "--kv-tokens", "4096")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "colonnade.replica", *argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "COLONNADE_HOME": str(self.home)},
        )
        self.processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(60):
            said = msgspec.json.decode(await process.stdout.readline())
        return Route(name, epoch, said["url"], MODEL, said["events"])

    async def end(self, index: int) -> None:
        process = self.processes.pop(index)
        process.kill()
        await process.communicate()


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    while made.processes:
        await made.end(0)


async def talk(house: House, gateway: Gateway, messages: list[dict[str, str]]) -> Any:
    """One turn: the answer joins the messages. Usage with it."""
    body = {"model": MODEL, "messages": messages, "max_tokens": 8, "temperature": 0}
    async with asyncio.timeout(60):
        reply = await house.ask(gateway, body=body)
    assert reply.status == 200, reply.body
    answer = reply.json()
    messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
    return answer["usage"]


def body_of(messages: list[dict[str, str]]) -> bytes:
    return msgspec.json.encode({"model": MODEL, "messages": messages})


async def test_conversations_stick_and_a_restart_is_forgotten(house: House, fleet: Fleet) -> None:
    first, second = await asyncio.gather(fleet.start("r-0", "e0"), fleet.start("r-1", "e1"))
    gateway = await house.gateway()
    house.write(Routes(9, (first, second), (record(),), "00" * 32, models=(MODEL,)))
    gateway.reload()
    table = gateway.plane.table
    for route in (first, second):
        await _ready(house, route)

    talks: list[list[dict[str, str]]] = [
        [{"role": "system", "content": f"You are clerk {n}. " + "Answer in short words, and be kind. " * 6}]
        for n in range(4)
    ]
    homes: dict[int, str] = {}
    for turn in range(3):
        for n, messages in enumerate(talks):
            messages.append({"role": "user", "content": f"What is {turn} plus {n}? Please say only the number."})
            asked = links(body_of(messages), "acme")
            usage = await talk(house, gateway, messages)
            holders = await _holders(gateway, asked[-1].digest, ("e0", "e1"))
            assert homes.setdefault(n, holders[0]) == holders[0]
            assert holders == [homes[n]], "its prefix is on one replica alone"
            if turn:
                cached = usage["prompt_tokens_details"]["cached_tokens"]
                assert cached >= 0.5 * usage["prompt_tokens"], "what it said before was not computed again"
    assert len(set(homes.values())) == 2, "and there are conversations on both"

    await fleet.end(0)
    again = await fleet.start("r-0", "e2")
    house.write(Routes(10, (again, second), (record(),), "00" * 32, models=(MODEL,)))
    gateway.reload()
    assert not table.index.held("e0"), "its life is over, and what it held with it"
    assert table.index.held("e1")
    await _ready(house, again)
    moved = next(n for n, home in homes.items() if home == "e0")
    talks[moved].append({"role": "user", "content": "And once more, please?"})
    await talk(house, gateway, talks[moved])
    asked = links(body_of(talks[moved][:-1]), "acme")
    assert await _holders(gateway, asked[-1].digest, ("e1", "e2"))


async def _holders(gateway: Gateway, digest: bytes, epochs: tuple[str, ...]) -> list[str]:
    """Those that hold it, once one does and all have said that they are idle again."""
    index, targets = gateway.plane.table.index, gateway.plane.table.targets
    await until(
        lambda: (
            any(digest in index.held(epoch) for epoch in epochs)
            and not any(target.load.running or target.load.prefill for target in targets.values())
        )
    )
    return [epoch for epoch in epochs if digest in index.held(epoch)]


async def _ready(house: House, route: Route) -> None:
    """It answers: a gateway of its own holds the request until it does."""
    patient = await house.gateway(settings=GatewaySettings(port=0, shutdown_timeout=0.2, hold_timeout=180.0))
    house.write(Routes(8, (route,), (record(),), "00" * 32, models=(MODEL,)))
    patient.reload()
    await talk(house, patient, [{"role": "user", "content": "Hello."}])
