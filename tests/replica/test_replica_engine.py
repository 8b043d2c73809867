"""The official client, with strict response validation, against the real engine and the shipped model."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from replica_process import TINY, Client, Replica, Start

MODEL = "colonnade-tiny"
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi, I want to book an appointment."}]
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "book_appointment",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}


def official(replica: Replica) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=replica.url + "/v1", api_key="none", max_retries=0, _strict_response_validation=True
    )


@pytest.fixture(scope="module")
def replica(start_replica: Start) -> Replica:
    return start_replica(TINY)


@pytest.fixture
async def client(replica: Replica) -> AsyncIterator[openai.AsyncOpenAI]:
    async with official(replica) as made:
        await ready(replica)
        yield made


async def ready(replica: Replica) -> None:
    async with aiohttp.ClientSession() as session:
        await Client(session, replica.url).ready()


async def streamed(client: openai.AsyncOpenAI, **fields: Any) -> tuple[str, Any]:
    """The text, and the last chunk."""
    stream = await client.chat.completions.create(model=MODEL, messages=ASK, stream=True, **fields)
    chunks = [chunk async for chunk in stream]
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices), chunks[-1]


async def test_a_stream_and_a_whole_answer_are_the_same(client: openai.AsyncOpenAI):
    text, last = await streamed(client, max_tokens=40, seed=1, stream_options={"include_usage": True})
    whole = await client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=40, seed=1)
    assert whole.choices[0].message.content == text
    assert whole.usage is not None
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert text


async def test_a_seed_twice_gives_equal_answers(client: openai.AsyncOpenAI):
    onward = {"ignore_eos": True}
    texts = [
        (await streamed(client, max_tokens=60, seed=seed, temperature=2, extra_body=onward))[0] for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


async def test_choices_differ_and_are_each_reproducible(client: openai.AsyncOpenAI):
    answers = [
        await client.chat.completions.create(
            model=MODEL, messages=ASK, n=2, max_tokens=20, seed=3, temperature=1.5, extra_body={"ignore_eos": True}
        )
        for _ in range(2)
    ]
    first, second = [[choice.message.content for choice in answer.choices] for answer in answers]
    assert first == second
    assert first[0] != first[1]


async def test_a_stop_string_is_not_part_of_the_answer(client: openai.AsyncOpenAI):
    text, _ = await streamed(client, max_tokens=40, seed=1, temperature=0)
    stop = text[len(text) // 2 :][:3]
    cut, last = await streamed(client, max_tokens=40, seed=1, temperature=0, stop=stop)
    assert cut == text[: text.index(stop)]
    assert last.choices[0].finish_reason == "stop"


async def test_log_probabilities(client: openai.AsyncOpenAI):
    whole = await client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=12, logprobs=True, top_logprobs=3, seed=1, temperature=0
    )
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert "".join(each.token for each in logprobs.content) == whole.choices[0].message.content
    for each in logprobs.content:
        assert each.logprob <= 0
        assert each.top_logprobs[0].logprob == max(top.logprob for top in each.top_logprobs)
        assert len(each.top_logprobs) == 3
    stream = await client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=12, logprobs=True, top_logprobs=3, seed=1, temperature=0, stream=True
    )
    told = [chunk.choices[0].logprobs async for chunk in stream]
    assert [each for part in told if part and part.content for each in part.content] == logprobs.content


async def test_completions(client: openai.AsyncOpenAI):
    whole = await client.completions.create(model=MODEL, prompt=["Monday", "Tuesday"], max_tokens=4, logprobs=2)
    assert [choice.index for choice in whole.choices] == [0, 1]
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs
    assert logprobs.text_offset
    assert logprobs.text_offset[0] == 0
    (same,) = (await client.completions.create(model=MODEL, prompt="Tuesday", max_tokens=4, temperature=0)).choices
    (pair, _) = (
        await client.completions.create(model=MODEL, prompt=["Tuesday"] * 2, max_tokens=4, temperature=0)
    ).choices
    assert same.text == pair.text


async def test_a_conversation_with_tools_goes_round(client: openai.AsyncOpenAI):
    messages: list[ChatCompletionMessageParam] = [
        *ASK,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "book_appointment", "arguments": '{"name": "Ann"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"status": "booked"}'},
    ]
    whole = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL], max_tokens=30)
    message = whole.choices[0].message
    assert message.content or message.tool_calls
    again = await client.chat.completions.create(
        model=MODEL,
        messages=[*messages, message.model_dump(), {"role": "user", "content": "Thanks"}],  # pyright: ignore[reportArgumentType]
        tools=[TOOL],
        max_tokens=5,
    )
    assert again.choices


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"messages": [{"role": "user", "content": "long " * 9000}]}, "messages", "context_length_exceeded"),
        ({"model": "gpt-4"}, "model", "model_not_found"),
    ],
)
async def test_typed_refusals_while_another_stream_goes_on(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str, code: str
):
    going = asyncio.create_task(streamed(client, max_tokens=200, extra_body={"ignore_eos": True}))
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**{"model": MODEL, "messages": ASK, **fields})
    assert (caught.value.param, caught.value.code) == (param, code)
    _, last = await going
    assert last.choices[0].finish_reason == "length"


async def test_a_completion_streams(client: openai.AsyncOpenAI):
    """Not strict: the client's types want a reason to finish in every chunk, where OpenAI itself sends null."""
    relaxed = openai.AsyncOpenAI(base_url=client.base_url, api_key="none", http_client=client._client)
    stream = await relaxed.completions.create(model=MODEL, prompt="Monday", max_tokens=6, stream=True, temperature=0)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    whole = await client.completions.create(model=MODEL, prompt="Monday", max_tokens=6, temperature=0)
    assert whole.choices[0].text == text


async def test_models(client: openai.AsyncOpenAI):
    (model,) = [each async for each in client.models.list()]
    assert model.id == MODEL
    assert model.model_extra is not None
    assert model.model_extra["max_model_len"] == 8192


async def test_a_killed_engine_is_an_error_and_not_a_hang(start_replica: Start):
    replica = start_replica(TINY)
    await ready(replica)
    async with official(replica) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, max_tokens=8000, extra_body={"ignore_eos": True}
        )
        await anext(stream)
        os.kill(replica.engine(), signal.SIGKILL)
        with pytest.raises(openai.APIError) as caught:
            await _exhaust(stream)
    assert caught.value.code == "replica_lost"
    status, line = await asyncio.to_thread(replica.ended)
    assert (status, line) == (1, "engine killed by signal 9 (SIGKILL)")


async def _exhaust(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


async def test_equal_requests_are_equal_alone_and_in_company(client: openai.AsyncOpenAI):
    """The same seed among other requests, with and without a cached prompt."""
    alone = await streamed(client, max_tokens=30, seed=5, temperature=1.2)
    company = [streamed(client, max_tokens=30, seed=seed, temperature=1.2) for seed in range(8)]
    together = await asyncio.gather(*company)
    assert together[5][0] == alone[0]


async def test_a_prompts_prefix_is_cached_for_its_tenant_and_salt_alone(replica: Replica):
    body = {"model": MODEL, "prompt": "A prefix that nobody else asks for, long enough to see.", "max_tokens": 1}
    asks = [("a", {}), ("a", {}), ("b", {}), ("a", {"cache_salt": "s"}), ("a", {"cache_salt": "s"}), ("b", {})]
    async with aiohttp.ClientSession() as session:
        client = Client(session, replica.url)
        await client.ready()
        cached: list[int] = []
        for tenant, salt in asks:
            status, answer = await client.post("/v1/completions", body | salt, Colonnade_Tenant=tenant)
            assert status == 200, answer
            cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    most = cached[1]
    assert most > 5
    assert cached == [0, most, 0, 0, most, most]
