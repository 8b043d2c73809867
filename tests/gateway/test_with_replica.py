"""The gateway in front of a real replica: the shipped model, its engine, its events.

The start of the engine takes seconds.
"""

from __future__ import annotations

import signal

import openai
import pytest
from gateway_house import KEY, House, until
from gateway_replica import ASK, MODEL, Replica

from colonnade.gateway.server import Gateway
from colonnade.wire.contract import is_error, violations
from colonnade.wire.stream import EventReader

LONG = {**ASK, "stream": True, "max_tokens": 4000, "ignore_eos": True}


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
