"""llama.cpp itself behind a replica: its server, as a child, with the shipped model; gateway and adapter in front."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import openai
import pytest
from foreign_rig import LONG, SERVED, Start, ask, children, free_port, in_front, ready
from gateway_house import KEY, House, until
from gateway_replica import ASK, MODEL

from colonnade.engine.folder import SHIPPED
from colonnade.gateway.server import Gateway
from colonnade.wire.contract import is_error, violations
from colonnade.wire.stream import EventReader

SERVER = Path(__file__).parent / "llamacpp_server.py"


async def test_llamacpp(house: House, adapter: Start, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    command = f"{sys.executable} {SERVER} {SHIPPED / MODEL} {url.rpartition(':')[2]}"
    foreign = await adapter("--engine-url", url, "--engine-kind", "llamacpp", "--engine-command", command)
    await ready(house, foreign)
    gateway = await in_front(house, foreign)
    await it_answers(gateway, url)
    reply = await house.ask(gateway, body=ask(stream=True, temperature=0))
    assert violations(reply.body, told=False) == []
    *_, last, _ = EventReader().feed(reply.body)
    assert (last.usage() or {})["completion"] == 24
    long = [{"role": "user", "content": "What is 3 plus 4? " * 2000}]
    assert (await house.ask(gateway, body=ask(messages=long))).code == "context_length_exceeded"
    await its_load_is_told(house, gateway)
    await its_death_is_told(house, gateway, children(children(foreign.process.pid)[0])[0])
    assert await asyncio.wait_for(foreign.process.wait(), 30) == 1
    said = (tmp_path / "adapter.log").read_text().splitlines()[-1]
    assert said.endswith("was killed by signal 9 (SIGKILL)")


async def it_answers(gateway: Gateway, url: str) -> None:
    """As it does when it is asked directly; and the model computes there as it does here."""
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema, "strict": True}}
    async with (
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as direct,
    ):
        expected = await direct.chat.completions.create(temperature=0, **ASK)
        answer = await client.chat.completions.create(temperature=0, n=2, logprobs=True, top_logprobs=2, **ask())
        assert [choice.message for choice in answer.choices] == [expected.choices[0].message] * 2
        assert (answer.choices[0].message.content or "").startswith("Ones: 3 + 4 = 7")
        assert answer.choices[0].logprobs is not None
        assert answer.model == SERVED
        shaped = await client.chat.completions.create(temperature=0, response_format=form, **ask())  # pyright: ignore[reportCallIssue, reportArgumentType]
        assert isinstance(msgspec.json.decode(shaped.choices[0].message.content or "")["sum"], int)
        text = await client.completions.create(model=SERVED, prompt=[5, 6, 7], max_tokens=3)
        assert text.usage is not None
        assert (text.usage.prompt_tokens, text.usage.completion_tokens) == (3, 3)
        card = (await client.models.retrieve(SERVED)).model_extra or {}
        assert (card["engine"], card["max_model_len"]) == ("llamacpp", 8192)
        with pytest.raises(openai.BadRequestError, match=r"llama\.cpp \(llama-server\) cannot do this"):
            await client.chat.completions.create(**ask(), extra_body={"regex": "a+"})


async def its_load_is_told(house: House, gateway: Gateway) -> None:
    """A client that leaves is felt by the engine: its own metrics say so."""
    (target,) = gateway.plane.table.targets.values()
    clients = [await house.client(gateway) for _ in range(3)]
    for client in clients:
        client.post(body={**LONG, "model": SERVED})
    await until(lambda: target.load.running >= 2 and target.load.waiting == 1, 30)  # it has two slots
    steps = target.load.steps
    for client in clients:
        client.leave()
    await until(lambda: target.load.running == target.load.waiting == 0, 30)
    assert target.load.steps > steps


async def its_death_is_told(house: House, gateway: Gateway, pid: int) -> None:
    client = await house.client(gateway)
    client.post(body={**LONG, "model": SERVED})
    assert (await client.head())[0] == 200
    assert await client.chunk()
    os.kill(pid, signal.SIGKILL)
    rest = b""
    while data := await client.chunk():
        rest += data
    last = EventReader().feed(rest)[-1]
    assert is_error(last)
    assert msgspec.json.decode(last.data)["error"]["code"] == "replica_lost"
