"""Answers of a form that was asked for: the official client against the real engine and the shipped model."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from official import official
from replica_process import TINY, Replica, Start

MODEL = "colonnade-tiny"
ASK: Any = [{"role": "user", "content": "Hi, I want to book an appointment on Monday. My name is Ann."}]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "day": {"enum": ["Monday", "Tuesday"]},
        "hour": {"type": "integer", "minimum": 8, "maximum": 17},
    },
    "required": ["name", "day", "hour"],
    "additionalProperties": False,
}
BOOK: Any = {"type": "function", "function": {"name": "book", "parameters": SCHEMA}}
CANCEL: Any = {"type": "function", "function": {"name": "cancel"}}


@pytest.fixture(scope="module")
def replica(start_replica: Start) -> Replica:
    return start_replica(TINY)


@pytest.fixture
async def client(replica: Replica) -> AsyncIterator[openai.AsyncOpenAI]:
    async with official(replica.url) as made:
        yield made


def schema_format(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "booking", "schema": schema, "strict": True}}


async def chat(client: openai.AsyncOpenAI, **fields: Any) -> Any:
    fields = {"max_tokens": 200, "seed": 1, "temperature": 1.3} | fields
    answer = await client.chat.completions.create(model=MODEL, messages=ASK, **fields)
    return answer.choices[0]


def check_booking(booking: Any) -> None:
    assert set(booking) == {"name", "day", "hour"}
    assert len(booking["name"]) <= 12
    assert booking["day"] in {"Monday", "Tuesday"}
    assert 8 <= booking["hour"] <= 17


@pytest.mark.parametrize("seed", range(5))
async def test_an_answer_is_of_its_schema(client: openai.AsyncOpenAI, seed: int):
    choice = await chat(client, response_format=schema_format(SCHEMA), seed=seed)
    assert choice.finish_reason == "stop"
    check_booking(json.loads(choice.message.content))


async def test_a_stream_gives_the_same_answer(client: openai.AsyncOpenAI):
    whole = await chat(client, response_format=schema_format(SCHEMA))
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=ASK,
        max_tokens=200,
        seed=1,
        temperature=1.3,
        stream=True,
        response_format=schema_format(SCHEMA),
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.message.content


async def test_a_json_object(client: openai.AsyncOpenAI):
    choice = await chat(client, response_format={"type": "json_object"}, temperature=0)
    assert choice.message.content.startswith("{")
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.message.content), dict)


async def test_regex_ebnf_and_completions(client: openai.AsyncOpenAI):
    choice = await chat(client, extra_body={"regex": r"[A-C]{3}-\d{2}"})
    assert re.fullmatch(r"[A-C]{3}-\d{2}", choice.message.content)
    choice = await chat(client, extra_body={"ebnf": 'root ::= ("yes" | "no") "!"'})
    assert choice.message.content in {"yes!", "no!"}
    done = await client.completions.create(
        model=MODEL, prompt="x", extra_body={"json_schema": '{"enum": ["left", "right"]}'}
    )
    assert json.loads(done.choices[0].text) in ("left", "right")


async def test_calls_are_required(client: openai.AsyncOpenAI):
    choice = await chat(client, tools=[BOOK, CANCEL], tool_choice="required", parallel_tool_calls=False)
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name in {"book", "cancel"}


@pytest.mark.parametrize("seed", range(3))
async def test_a_call_is_named(client: openai.AsyncOpenAI, seed: int):
    wanted: Any = {"type": "function", "function": {"name": "book"}}
    choice = await chat(client, tools=[CANCEL, BOOK], tool_choice=wanted, seed=seed)
    (call,) = choice.message.tool_calls
    assert call.function.name == "book"
    check_booking(json.loads(call.function.arguments))
    assert choice.message.content is None


async def test_a_strict_function_may_be_called(client: openai.AsyncOpenAI):
    strict: Any = {"type": "function", "function": BOOK["function"] | {"strict": True}}
    choice = await chat(client, tools=[strict])
    for call in choice.message.tool_calls or ():
        check_booking(json.loads(call.function.arguments))


async def test_company_and_seeds_change_nothing(client: openai.AsyncOpenAI):
    alone = await chat(client, response_format=schema_format(SCHEMA), seed=3)
    together = await asyncio.gather(
        *(chat(client, response_format=schema_format(SCHEMA), seed=seed) for seed in range(6)),
        chat(client, seed=9),
    )
    assert together[3].message.content == alone.message.content


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"response_format": schema_format({"properties": {"a": {"not": {"pattern": "a"}}}})}, None, "/properties/a"),
        ({"extra_body": {"regex": "(a"}}, "regex", "invalid regex"),
        ({"extra_body": {"ebnf": "root ::= foo"}}, "ebnf", "foo"),
        ({"extra_body": {"ebnf": "root ::= 'a'", "regex": "a"}}, "ebnf", "only one"),
        ({"extra_body": {"regex": "a", "ignore_eos": True}}, "ignore_eos", "ends"),
        ({"tools": [BOOK], "extra_body": {"regex": "a"}}, "regex", "not together"),
    ],
)
async def test_what_cannot_be_held_to_is_refused(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str | None, words: str
):
    with pytest.raises(openai.BadRequestError) as caught:
        await chat(client, **fields)
    assert caught.value.param == (param or "response_format.json_schema.schema")
    assert words in caught.value.message
