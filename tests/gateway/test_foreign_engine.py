"""Another engine's server behind a replica, through the whole path: gateway, adapter, server.

The server is `colonnade` itself, as another process: it speaks OpenAI's API, and has SGLang's endpoints.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path

import msgspec
import openai
import pytest
import zmq
from foreign_rig import LONG, SERVED, Start, ask, children, free_port, in_front, ready
from gateway_house import KEY, House, until
from gateway_replica import ASK, MODEL, Replica

from colonnade.engine.folder import SHIPPED
from colonnade.gateway.fetch import get
from colonnade.gateway.server import Gateway
from colonnade.wire.contract import is_error, violations
from colonnade.wire.stream import EventReader


async def test_attached(house: House, replica: Replica, adapter: Start, tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as events:
        events.linger = 0
        port = events.bind_to_random_port("tcp://127.0.0.1")
        foreign = await adapter("--engine-url", replica.route.url, "--engine-events", f"tcp://127.0.0.1:{port}")
        await ready(house, foreign)
        await its_cache_events_are_told_on(events, foreign)
    gateway = await in_front(house, foreign)
    await answers_as_the_server_would(house, gateway, replica)
    await what_is_refused_is_told(gateway)
    await a_stream_is_taken_up_again(house, gateway)
    await a_client_that_leaves_ends_the_work(house, gateway, replica)
    await the_servers_death_is_told(house, gateway, replica)
    assert await asyncio.wait_for(foreign.process.wait(), 30) == 1
    assert "the engine is gone: " in (tmp_path / "adapter.log").read_text().splitlines()[-1]


async def its_cache_events_are_told_on(events: zmq.Socket[bytes], foreign: Replica) -> None:
    """As vLLM publishes them; what comes before the subscription is lost, so they are said until they are heard."""
    block = ["BlockStored", [7], None, [1, 2, 3, 4], 4, None]
    async with asyncio.timeout(30):
        for number in itertools.count():
            batch = msgspec.msgpack.encode([0.5, [block], 0])
            events.send_multipart([b"kv-events", number.to_bytes(8, "big"), batch])
            snapshot = msgspec.json.decode((await get(f"{foreign.route.url}/snapshot", 5))[1])
            if snapshot["cache"]:
                assert [held["length"] for held in snapshot["cache"]] == [4]
                return


async def answers_as_the_server_would(house: House, gateway: Gateway, replica: Replica) -> None:
    async with (
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client,
        openai.AsyncOpenAI(base_url=f"{replica.route.url}/v1", api_key="none", max_retries=0) as direct,
    ):
        expected = await direct.chat.completions.create(seed=5, **ASK)
        answer = await client.chat.completions.create(seed=5, **ask())
        assert answer.choices == expected.choices
        assert answer.usage is not None
        assert expected.usage is not None
        assert answer.usage.completion_tokens == expected.usage.completion_tokens
        stream = await client.chat.completions.create(seed=5, stream=True, **ask(n=2))
        texts = {0: "", 1: ""}
        async for chunk in stream:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert texts[0] == expected.choices[0].message.content
        text = await client.completions.create(model=SERVED, prompt=[5, 6, 7], max_tokens=3, seed=1)
        assert text.usage is not None
        assert text.usage.prompt_tokens == 3
        card = await client.models.retrieve(SERVED)
        assert card.model_extra is not None
        assert card.model_extra["engine"] == "openai"
        assert card.model_extra["abilities"]["resume"]["standing"] == "refused"
    reply = await house.ask(gateway, body=ask(stream=True), headers={"Colonnade-Request-Id": "mine"})
    assert violations(reply.body, told=False) == []
    assert reply.headers["colonnade-epoch"] == "f1"
    assert b'"id":"chatcmpl-mine"' in reply.body
    *_, last, _ = EventReader().feed(reply.body)
    assert (last.usage() or {})["completion"] > 0


async def what_is_refused_is_told(gateway: Gateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        for body in ({"regex": "a+"}, {"return_token_ids": True}, {"cache_salt": "s"}):
            with pytest.raises(openai.BadRequestError, match="cannot do this: "):
                await client.chat.completions.create(**ask(), extra_body=body)
        with pytest.raises(openai.BadRequestError, match="the engine says: temperature"):
            await client.chat.completions.create(**ask(temperature=-1))


async def a_stream_is_taken_up_again(house: House, gateway: Gateway) -> None:
    headers = {"Colonnade-Request-Id": "again", "Colonnade-Resume": "30"}
    whole = await house.ask(gateway, body=ask(stream=True, seed=3), headers=headers)
    blocks = whole.body.split(b"\n\n")
    seen = EventReader().feed(blocks[1] + b"\n\n")[0].id
    rest = await house.ask(gateway, body=ask(stream=True, seed=3), headers={**headers, "Last-Event-ID": seen})
    assert rest.body == b"\n\n".join(blocks[2:])


async def a_client_that_leaves_ends_the_work(house: House, gateway: Gateway, replica: Replica) -> None:
    (target,) = gateway.plane.table.targets.values()
    (engine,) = (await in_front(house, replica)).plane.table.targets.values()
    clients = [await house.client(gateway) for _ in range(2)]
    for client in clients:
        client.post(body={**LONG, "model": SERVED})
    for client in clients:
        assert (await client.head())[0] == 200
        assert await client.chunk()
    await until(lambda: target.load.running == engine.load.running == 2, 20)
    for client in clients:
        client.leave()
    await until(lambda: target.load.running == engine.load.running == 0, 20)


async def the_servers_death_is_told(house: House, gateway: Gateway, replica: Replica) -> None:
    client = await house.client(gateway)
    client.post(body={**LONG, "model": SERVED})
    assert (await client.head())[0] == 200
    assert await client.chunk()
    replica.process.send_signal(signal.SIGKILL)
    rest = b""
    while data := await client.chunk():
        rest += data
    last = EventReader().feed(rest)[-1]
    assert is_error(last)
    error = msgspec.json.decode(last.data)["error"]
    assert (error["code"], error["retryable"]) == ("replica_lost", True)
    assert "engine" in error["message"]
    again = await house.ask(gateway, body=ask())
    assert again.status in (502, 503)
    assert again.json()["error"]["retryable"] is True


async def test_started_as_a_child(house: House, adapter: Start, tmp_path: Path) -> None:
    """As SGLang: our server has its endpoints. It is started, used, lost; the replica says how."""
    port = free_port()
    command = f"{sys.executable} -m colonnade.replica --model '{SHIPPED / MODEL}' --port {port}"
    flags = ("--engine-url", f"http://127.0.0.1:{port}/v1", "--engine-kind", "sglang", "--engine-command", command)
    foreign = await adapter(*flags, "--model", MODEL)
    status, body = await get(f"{foreign.route.url}/v1/models", 5)
    assert (status, msgspec.json.decode(body)["error"]["code"]) == (503, "not_ready")
    await ready(house, foreign)
    gateway = await in_front(house, foreign)
    reply = await house.ask(gateway, body=ask(regex="[0-9]{3}"))
    assert reply.json()["choices"][0]["message"]["content"].isdigit()
    (guard,) = children(foreign.process.pid)
    (engine,) = children(guard)
    os.kill(engine, signal.SIGKILL)
    assert await asyncio.wait_for(foreign.process.wait(), 30) == 1
    said = (tmp_path / "adapter.log").read_text().splitlines()[-1]
    assert said.startswith("the engine is gone: python")
    assert said.endswith("was killed by signal 9 (SIGKILL)")
