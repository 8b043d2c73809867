"""A replica that drafts beside one that does not: the same answers, over HTTP, and each goes on with the other's."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from replica_process import TINY, Client, Start

from colonnade.gateway.resume import GoOn, Passage
from colonnade.wire.stream import EventReader

ASK: dict[str, Any] = {
    "model": "colonnade-tiny",
    "messages": [{"role": "user", "content": "My name is Anna Bloom and I come on Monday at 10:30."}],
    "max_tokens": 40,
    "seed": 7,
    "n": 2,
    "logprobs": True,
    "top_logprobs": 1,
}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def urls(start_replica: Start) -> list[str]:
    """Of one without and of one with speculation."""
    drafting = ("--speculation=ngram", "--draft-tokens=5")
    return [start_replica(TINY, "--threads=1", *flags).url for flags in ((), drafting)]


@pytest.fixture
async def clients(urls: list[str]) -> AsyncIterator[list[Client]]:
    async with aiohttp.ClientSession() as session:
        made = [Client(session, url) for url in urls]
        for client in made:
            await client.ready()
        yield made


def meaning(stream: bytes) -> Any:
    """What equality is about, however the tokens were cut into chunks."""
    events = EventReader().feed(stream)
    tokens: dict[int, list[int]] = {}
    texts: dict[int, str] = {}
    logprobs: dict[int, list[Any]] = {}
    ends: dict[int, str] = {}
    for event in events:
        for choice, ids in event.tokens():
            tokens.setdefault(choice, []).extend(ids)
        for each in json.loads(event.data)["choices"] if event.data != "[DONE]" else []:
            index = each["index"]
            texts[index] = texts.get(index, "") + (each["delta"].get("content") or "")
            logprobs.setdefault(index, []).extend((each.get("logprobs") or {}).get("content") or [])
            ends[index] = each["finish_reason"] or ends.get(index, "")
    usage = json.loads(events[-2].data)["usage"]
    return tokens, texts, logprobs, ends, (usage["prompt_tokens"], usage["completion_tokens"])


async def stream(client: Client, body: dict[str, Any]) -> tuple[bytes, str]:
    """Its bytes, and the fingerprint."""
    async with client.open(CHAT, body) as answer:
        return await answer.read(), answer.headers["Colonnade-Fingerprint"]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
async def test_a_whole_answer_is_the_same_but_for_its_steps(clients: list[Client], temperature: float) -> None:
    answers, steps = [], []
    for client in clients:
        before = (await client.load())["steps"]
        status, answer = await client.post(CHAT, ASK | {"temperature": temperature})
        assert status == 200
        answer["usage"].pop("prompt_tokens_details")
        answers.append((answer["choices"], answer["usage"]))
        await client.idle()
        steps.append((await client.load())["steps"] - before)
    assert answers[0] == answers[1]
    assert steps[1] < steps[0]


async def test_each_goes_on_with_the_answer_of_the_other(clients: list[Client]) -> None:
    body = ASK | {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0.8}
    whole = [await stream(client, body) for client in clients]
    fingerprint = whole[0][1]
    assert fingerprint == whole[1][1]
    assert meaning(whole[0][0]) == meaning(whole[1][0])
    for (data, _), other in zip(whole, reversed(clients), strict=True):
        blocks = data.split(b"\n\n")
        for at in range(2, len(blocks) - 3, 5):
            passage = Passage(partial=False)
            begun, _ = passage.take(b"".join(block + b"\n\n" for block in blocks[:at]))
            go_on = passage.plan(fingerprint)
            assert isinstance(go_on, GoOn)
            sent = io.BytesIO(go_on.replay + json.dumps(body).encode())
            headers = {"Colonnade-Replay": str(len(go_on.replay))}
            async with other.session.post(other.url + CHAT, data=sent, headers=headers) as answer:
                assert meaning(begun + await answer.read()) == meaning(data)


async def test_what_it_drafts_is_told(clients: list[Client]) -> None:
    plain, drafting = clients
    _, models = await drafting.get("/v1/models")
    facts = models["data"][0]
    assert (facts["speculation"], facts["draft_tokens"], facts["draft_rule"]) == ("ngram", 5, "coupled")
    assert (await plain.get("/v1/models"))[1]["data"][0]["speculation"] == "off"
    load = await drafting.load()
    assert 0 < load["accepted"] <= load["drafted"]
    async with drafting.session.get(drafting.url + "/metrics") as answer:
        page = await answer.text()
    assert f'colonnade_replica_draft_tokens_total{{kind="accepted"}} {load["accepted"]}.0' in page
    assert f'colonnade_replica_draft_tokens_total{{kind="drafted"}} {load["drafted"]}.0' in page
    assert (await plain.load())["drafted"] == 0
