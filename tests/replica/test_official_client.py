"""Every field of the official openai client, with strict response validation: an answer is the same whole and streamed.

The client puts its streams together itself, so that what is compared is what an application sees.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from official import official
from pydantic import BaseModel
from replica_process import TINY, Replica, Start

MODEL = "colonnade-tiny"
ASK: Any = [{"role": "user", "content": "Hi, I want to book an appointment on Monday. My name is Ann."}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "hour": {"type": "integer"}},
    "required": ["name", "hour"],
    "additionalProperties": False,
}
BOOK: Any = {"type": "function", "function": {"name": "book", "parameters": SCHEMA}}
STRICT: Any = {"type": "function", "function": {"name": "note", "parameters": SCHEMA, "strict": True}}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "booking", "schema": SCHEMA, "strict": True}}
FIELDS: dict[str, dict[str, Any]] = {
    "who asks": {"user": "u1", "metadata": {"for": "test"}, "extra_body": {"priority": 3}, "temperature": 0},
    "choices": {"n": 2, "seed": 5, "temperature": 1.4, "top_p": 0.95},
    "stops": {"stop": ["zzz", "e"], "temperature": 0},
    "bias and penalties": {
        "logit_bias": {"300": -100, "301": 5},
        "presence_penalty": 0.4,
        "frequency_penalty": 0.3,
        "seed": 2,
    },
    "log-probabilities": {"logprobs": True, "top_logprobs": 3, "seed": 4, "n": 2},
    "text": {"response_format": {"type": "text"}, "temperature": 0},
    "any object": {"response_format": {"type": "json_object"}, "temperature": 0},
    "a schema": {"response_format": FORM, "seed": 3, "temperature": 1.2, "logprobs": True},
    "tools as it likes": {"tools": [BOOK], "tool_choice": "auto", "seed": 1},
    "no tools": {"tools": [BOOK], "tool_choice": "none", "seed": 1},
    "a tool": {"tools": [BOOK, STRICT], "tool_choice": "required", "parallel_tool_calls": False, "seed": 6},
    "tools, perhaps several": {"tools": [BOOK, STRICT], "tool_choice": "required", "seed": 7, "temperature": 1.3},
    "this tool": {"tools": [BOOK, STRICT], "tool_choice": {"type": "function", "function": {"name": "note"}}},
}


@pytest.fixture(scope="module")
def replica(start_replica: Start) -> Replica:
    return start_replica(TINY, "--threads=1")


@pytest.fixture
async def client(replica: Replica) -> AsyncIterator[openai.AsyncOpenAI]:
    async with official(replica.url) as made:
        yield made


def meaning(answer: Any) -> Any:
    """All but what differs between two requests: the ids of calls, and what came from the cache."""
    choices = []
    for choice in answer.choices:
        message = choice.message
        calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
        told = [
            (each.token, each.logprob, [(top.token, top.logprob) for top in each.top_logprobs])
            for each in (choice.logprobs and choice.logprobs.content) or ()
        ]
        choices.append((choice.index, message.content or "", calls, told, choice.finish_reason))
    usage = answer.usage
    return choices, usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


@pytest.mark.parametrize("name", list(FIELDS))
async def test_whole_and_streamed_are_the_same(client: openai.AsyncOpenAI, name: str) -> None:
    ask = {"seed": 1, **FIELDS[name], "model": MODEL, "messages": ASK, "max_completion_tokens": 60}
    whole = await client.chat.completions.create(**ask)
    async with client.chat.completions.stream(**ask, stream_options={"include_usage": True}) as stream:
        async for _ in stream:
            pass
        streamed = await stream.get_final_completion() if _is_whole(whole) else stream.current_completion_snapshot
    assert meaning(streamed) == meaning(whole)
    assert len(whole.choices) == FIELDS[name].get("n", 1)
    assert streamed.usage is not None
    assert streamed.usage.prompt_tokens_details is not None
    assert streamed.usage.prompt_tokens_details.cached_tokens


def _is_whole(answer: Any) -> bool:
    """The client's helper raises for an answer that was cut."""
    return all(choice.finish_reason != "length" for choice in answer.choices)


async def test_what_each_field_asks_for_is_done(client: openai.AsyncOpenAI) -> None:
    async def first(name: str) -> Any:
        ask = {"seed": 1, **FIELDS[name], "model": MODEL, "messages": ASK, "max_completion_tokens": 120}
        return (await client.chat.completions.create(**ask)).choices[0]

    assert "e" not in (await first("stops")).message.content
    assert set(json.loads((await first("a schema")).message.content)) == {"name", "hour"}
    assert (await first("no tools")).message.tool_calls is None
    (called,) = (await first("this tool")).message.tool_calls
    assert called.function.name == "note"
    assert set(json.loads(called.function.arguments)) == {"name", "hour"}


class Booking(BaseModel):
    name: str
    hour: int


async def test_an_answer_is_parsed_into_the_type_that_was_asked_for(client: openai.AsyncOpenAI) -> None:
    said = await client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Booking, seed=1)
    assert isinstance(said.choices[0].message.parsed, Booking)


async def test_completions_of_texts_and_of_token_ids(client: openai.AsyncOpenAI) -> None:
    text = await client.completions.create(model=MODEL, prompt="One, two", echo=True, max_tokens=4, seed=1, n=2)
    assert all(choice.text.startswith("One, two") for choice in text.choices)
    ids = await client.completions.create(
        model=MODEL, prompt=[[40, 41, 42], [50]], max_tokens=3, logprobs=2, seed=1, stop=["zzz"], user="u1"
    )
    assert [choice.index for choice in ids.choices] == [0, 1]
    assert ids.usage is not None
    assert ids.usage.prompt_tokens == 4


async def test_a_model_by_its_name(client: openai.AsyncOpenAI) -> None:
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("other")


async def test_the_null_of_a_prompts_first_token(client: openai.AsyncOpenAI) -> None:
    """A prompt's first token has no log-probability: null, as in OpenAI's own answers, and as lm-eval reads it. The
    client's types want a number there, so that its strict validation, off by default, does not take it."""
    ask: dict[str, Any] = {"model": MODEL, "prompt": "One, two", "echo": True, "logprobs": 1, "max_tokens": 0}
    with pytest.raises(openai.APIResponseValidationError):
        await client.completions.create(**ask)
    relaxed = openai.AsyncOpenAI(base_url=client.base_url, api_key="none", http_client=client._client)
    (choice,) = (await relaxed.completions.create(**ask)).choices
    assert choice.logprobs is not None
    told: Any = choice.logprobs.token_logprobs
    assert told[0] is None
    assert all(each <= 0 for each in told[1:])
