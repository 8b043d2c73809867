"""The gateway in front of a real replica: the shipped model, its engine, its events.

The start of the engine takes seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import openai
import pytest
from gateway_house import KEY, House, record, until

from colonnade.engine.folder import SHIPPED
from colonnade.gateway.server import Gateway
from colonnade.wire.contract import is_error, violations
from colonnade.wire.routes import Route, Routes
from colonnade.wire.stream import EventReader

MODEL = "colonnade-tiny"
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "What is 3 plus 4?"}], "max_tokens": 24}
LONG = {**ASK, "stream": True, "max_tokens": 4000, "ignore_eos": True}


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
    made = await house.gateway()
    house.write(Routes(9, (replica.route,), (record(),), "00" * 32, models=(MODEL,)))
    made.reload()
    client = await house.client(made)
    async with asyncio.timeout(60):
        while True:
            client.post(body=ASK)
            if (await client.reply()).status == 200:
                break
    return made


async def test_a_request_walks_through(house: House, gateway: Gateway) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as client:
        answer = await client.chat.completions.create(seed=5, **ASK)
        stream = await client.chat.completions.create(seed=5, stream=True, **ASK)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == answer.choices[0].message.content
        card = await client.models.retrieve(MODEL)
        assert card.model_extra is not None
        assert card.model_extra["epoch"] == "e1"
        for wrong in ({"temperature": "hot"}, {"max_tokens": 10**6}):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.chat.completions.create(**{**ASK, **wrong})
            assert refused.value.request_id
    reply = await house.ask(gateway, body={**ASK, "stream": True}, headers={"Colonnade-Request-Id": "mine"})
    assert violations(reply.body) == []
    assert reply.headers["colonnade-epoch"] == "e1"
    assert b'"id":"chatcmpl-mine"' in reply.body
    await load_comes_and_goes(house, gateway)


async def load_comes_and_goes(house: House, gateway: Gateway) -> None:
    """What the replica publishes reaches the gateway; a client that leaves is felt by the engine."""
    (target,) = gateway.plane.table.targets.values()
    clients = [await house.client(gateway) for _ in range(3)]
    for client in clients:
        client.post(body=LONG)
    await until(lambda: target.load.running == 3, 20)
    for client in clients:
        client.leave()
    await until(lambda: target.load.running == 0, 20)
    assert target.in_flight == 0


async def test_a_replica_that_is_killed_leaves_an_error_event(house: House, gateway: Gateway, replica: Replica) -> None:
    clients = [await house.client(gateway) for _ in range(4)]
    for client in clients:
        client.post(body=LONG)
    for client in clients:
        assert (await client.head())[0] == 200
        assert await client.chunk()
    replica.process.send_signal(signal.SIGKILL)
    for client in clients:
        rest = b""
        while data := await client.chunk():
            rest += data
        assert is_error(EventReader().feed(rest)[-1])
        assert b'"code":"replica_lost"' in rest
    again = await house.ask(gateway, body=ASK)
    assert again.status in (502, 503)
    assert again.json()["error"]["retryable"] is True
