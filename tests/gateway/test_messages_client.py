"""Anthropic's own client, with its strict validation, through a real gateway and a real replica."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, ToolUseBlock
from gateway_house import KEY, House
from gateway_replica import ASK, MODEL

from colonnade.gateway.server import Gateway
from colonnade.wire.contract import violations
from colonnade.wire.stream import EventReader

BOOK: dict[str, Any] = {
    "name": "book",
    "description": "Book a table",
    "input_schema": {"type": "object", "properties": {"guests": {"type": "integer"}}, "required": ["guests"]},
}
GREEDY = {"temperature": 0, "top_k": 1}
"""Not in the client's signature any more, but in its requests of old."""
TOLD: dict[str, Any] = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "done"}]}


def client_of(gateway: Gateway, key: str = KEY) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0, _strict_response_validation=True)


async def streamed(client: anthropic.AsyncAnthropic, **fields: Any) -> Message:
    async with client.messages.stream(**fields) as stream:
        return await stream.get_final_message()


def meaning(message: Message) -> Any:
    """All but what differs between two requests: ids, and what came from the cache."""
    said = message.to_dict(mode="json")
    blocks = [{name: value for name, value in block.items() if name != "id"} for block in said["content"]]  # type: ignore[attr-defined]
    return blocks, said["stop_reason"], said.get("stop_sequence"), message.usage.output_tokens


def prompt_of(message: Message) -> int:
    return message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)


async def test_the_official_client(house: House, gateway: Gateway) -> None:
    async with client_of(gateway) as client:
        await a_message_is_the_same_as_a_stream(client)
        await tools_are_called_and_answered(client)
        await forms_are_held_to(client)
        await tokens_are_counted(client)
        await what_is_wrong_is_said_in_its_own_form(client)
    async with client_of(gateway, "wrong") as stranger:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await stranger.messages.create(**ASK)
        assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
    async with anthropic.AsyncAnthropic(base_url=gateway.url, auth_token=KEY, max_retries=0) as bearer:
        assert (await bearer.messages.create(**ASK)).role == "assistant"
    await a_stream_keeps_the_contract(house, gateway)


async def a_message_is_the_same_as_a_stream(client: anthropic.AsyncAnthropic) -> None:
    ask: dict[str, Any] = {**ASK, "system": "You are brief.", "extra_body": GREEDY, "metadata": {"user_id": "u1"}}
    whole = await client.messages.create(**ask)
    assert whole.stop_reason in ("end_turn", "max_tokens")
    assert whole.content[0].type == "text"
    assert whole.usage.output_tokens > 0
    again = await streamed(client, **ask)
    assert meaning(again) == meaning(whole)
    assert again.usage.cache_read_input_tokens
    assert prompt_of(again) == prompt_of(whole)
    letter = whole.content[0].text[1]
    stopped = await client.messages.create(**ask, stop_sequences=["\x00never", letter])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", letter)
    assert meaning(await streamed(client, **ask, stop_sequences=[letter])) == meaning(stopped)
    short = await client.messages.create(**(ask | {"max_tokens": 1}))
    assert short.stop_reason == "max_tokens"


async def tools_are_called_and_answered(client: anthropic.AsyncAnthropic) -> None:
    ask: dict[str, Any] = {**ASK, "max_tokens": 80, "extra_body": GREEDY, "tools": [BOOK]}
    for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "book"}):
        called = await client.messages.create(**ask, tool_choice=choice)
        (call,) = called.content
        assert isinstance(call, ToolUseBlock)
        assert call.name == "book"
        assert isinstance(call.input["guests"], int)
        assert called.stop_reason == "tool_use"
        assert meaning(await streamed(client, **ask, tool_choice=choice)) == meaning(called)
    use = {"type": "tool_use", "id": "toolu_1", "name": "book", "input": {"guests": 3}}
    said = [*ASK["messages"], {"role": "assistant", "content": [{"type": "text", "text": "Well."}, use]}]
    ask["messages"] = [*said, {"role": "user", "content": [TOLD, {"type": "text", "text": "And now?"}]}]
    answered = await client.messages.create(**ask, tool_choice={"type": "none"})
    assert all(block.type == "text" for block in answered.content)


async def forms_are_held_to(client: anthropic.AsyncAnthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"sum": {"enum": [7]}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    form: Any = {"format": {"type": "json_schema", "schema": schema}}
    answer = await client.messages.create(**(ASK | {"max_tokens": 80}), output_config=form)
    assert answer.content[0].type == "text"
    assert json.loads(answer.content[0].text) == {"sum": 7}


async def tokens_are_counted(client: anthropic.AsyncAnthropic) -> None:
    ask: dict[str, Any] = {"model": MODEL, "messages": ASK["messages"], "system": [{"type": "text", "text": "Hi."}]}
    counted = await client.messages.count_tokens(**ask, tools=[BOOK])
    assert counted.input_tokens == prompt_of(await client.messages.create(**ask, tools=[BOOK], max_tokens=1))


async def what_is_wrong_is_said_in_its_own_form(client: anthropic.AsyncAnthropic) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"extra_body": {"temperature": 1.5}}, "temperature"),
        ({"model": "other"}, "model"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"messages": [*ASK["messages"], {"role": "assistant", "content": "It"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages"),
        ({"extra_body": {"container": "c"}}, "container"),
    ]
    for fields, param in wrong:
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.messages.create(**(ASK | fields))
        body: Any = refused.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
        assert str(body["error"]["param"]).startswith(param), body
        assert body["request_id"]
    with pytest.raises(anthropic.BadRequestError):
        await client.messages.count_tokens(model="other", messages=ASK["messages"])


async def a_stream_keeps_the_contract(house: House, gateway: Gateway) -> None:
    for more in ({}, {"tools": [BOOK], "tool_choice": {"type": "any"}}):
        reply = await house.ask(gateway, path="/v1/messages", body={**ASK, **more, "stream": True})
        assert violations(reply.body) == []
        events = EventReader().feed(reply.body)
        assert [event.name for event in events[-3:]] == ["message_delta", "message_stop", ""]
        assert len({event.id for event in events[:-1]}) == len(events) - 1
        for event in events[:-1]:
            assert json.loads(event.data)["type"] == event.name
    reply = await house.ask(gateway, method="GET", path="/v1/messages")
    assert reply.json()["type"] == "error"
