"""SGLang's endpoints in its request and response shapes, over the shipped model."""

import asyncio
import json
import re
from itertools import pairwise
from typing import Any

import pytest
from replica_process import TINY, Client, Replica, Start, until

GREEDY: dict[str, Any] = {"max_new_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def replica(start_replica: Start) -> Replica:
    return start_replica(TINY)


def ask(text: str = "One, two, ", **params: Any) -> dict[str, Any]:
    return {"text": text, "sampling_params": GREEDY | params}


async def test_text_in_and_output_ids_out(client: Client):
    status, said = await client.post("/generate", ask(ignore_eos=True) | {"rid": "mine"})
    assert status == 200
    meta = said["meta_info"]
    assert (meta["id"], meta["completion_tokens"], len(said["output_ids"])) == ("mine", 8, 8)
    assert meta["finish_reason"] == {"type": "length", "length": 8}
    assert meta["weight_version"] == (await client.get("/v1/models"))[1]["data"][0]["weight_version"]
    assert meta["weight_version"] == (await client.get("/get_model_info"))[1]["weight_version"]
    status, again = await client.post("/generate", ask(ignore_eos=True))
    assert (again["text"], again["output_ids"]) == (said["text"], said["output_ids"])
    assert again["meta_info"]["cached_tokens"] > 0


async def test_token_ids_in_a_list_and_several_answers(client: Client):
    body = {"input_ids": [[5, 6, 7], [8, 9]], "sampling_params": GREEDY | {"n": 2, "ignore_eos": True}}
    _, said = await client.post("/generate", body)
    assert [each["meta_info"]["prompt_tokens"] for each in said] == [3, 3, 2, 2]
    assert said[0]["output_ids"] == said[1]["output_ids"]
    events = await client.stream("/generate", body)
    last = {json.loads(event.data)["index"]: json.loads(event.data) for event in events[:-1]}
    assert [last[index]["output_ids"] for index in range(4)] == [each["output_ids"] for each in said]
    _, one = await client.post("/generate", {"input_ids": [5, 6, 7], "sampling_params": GREEDY | {"ignore_eos": True}})
    assert one["output_ids"] == said[0]["output_ids"]


async def test_an_event_holds_all_up_to_there(client: Client):
    _, whole = await client.post("/generate", ask())
    *events, done = await client.stream("/generate", ask())
    told = [json.loads(event.data) for event in events]
    assert done.data == "[DONE]"
    assert all(after["text"].startswith(before["text"]) for before, after in pairwise(told))
    assert told[-1]["text"] == whole["text"]
    assert told[-1]["output_ids"] == whole["output_ids"]


async def test_forms_are_held_to(client: Client):
    _, said = await client.post("/generate", ask(regex="(yes|no), [0-9]{3}", max_new_tokens=64))
    assert re.fullmatch("(yes|no), [0-9]{3}", said["text"])
    assert said["meta_info"]["finish_reason"]["type"] == "stop"
    _, said = await client.post("/generate", ask(json_schema='{"enum": ["a", "b"]}', max_new_tokens=64))
    assert json.loads(said["text"]) in ("a", "b")
    _, said = await client.post("/generate", ask(ebnf='root ::= "ab" | "cd"', max_new_tokens=64))
    assert said["text"] in ("ab", "cd")


async def test_log_probabilities_and_stops(client: Client):
    body = ask(ignore_eos=True) | {"return_logprob": True, "top_logprobs_num": 2, "return_text_in_logprobs": True}
    _, said = await client.post("/generate", body)
    told = said["meta_info"]["output_token_logprobs"]
    assert [token for _, token, _ in told] == said["output_ids"]
    assert "".join(text for _, _, text in told).replace("<|im_end|>", "") == said["text"]
    for (logprob, token, _), top in zip(told, said["meta_info"]["output_top_logprobs"], strict=True):
        assert top[0][:2] == [logprob, token]
        assert len(top) == 2
    letter = said["text"][2]
    _, stopped = await client.post("/generate", ask(stop=[letter]))
    assert stopped["meta_info"]["finish_reason"] == {"type": "stop", "matched": letter}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"text": None}, "text"),
        ({"input_ids": [1]}, "text"),
        ({"sampling_params": {"temperature": "hot"}}, "sampling_params.temperature"),
        ({"sampling_params": {"min_new_tokens": 3}}, "sampling_params.min_new_tokens"),
        ({"lora_path": "x"}, "lora_path"),
        ({"stream": True, "return_logprob": True}, "return_logprob"),
        ({"model": "other"}, "model"),
    ],
)
async def test_what_is_refused(client: Client, more: dict[str, Any], param: str):
    status, said = await client.post("/generate", ask() | more)
    assert (status, said["error"]["param"]) == (400, param)


async def test_unknown_parameters_warn(client: Client):
    async with client.open("/generate", ask(mood="good") | {"colour": 1}) as answer:
        assert answer.status == 200
        warned = answer.headers.getall("Colonnade-Warning")
    assert warned == ["unknown field colour", "unknown field mood"]


async def test_health_and_facts(client: Client):
    status, said = await client.get("/health_generate")
    assert (status, len(said["output_ids"])) == (200, 1)
    _, model = await client.get("/get_model_info")
    assert model["is_generation"] is True
    assert model["model_path"] == str(TINY)
    _, server = await client.get("/get_server_info")
    assert server["internal_states"][0]["running"] == 0
    assert server["context_length"] > 0


async def test_the_cache_is_emptied(client: Client):
    for cached in (0, 0):
        await client.idle()
        assert (await client.post("/flush_cache", b""))[0] == 200
        _, said = await client.post("/generate", ask("Something that is not said elsewhere. "))
        assert said["meta_info"]["cached_tokens"] == cached


async def test_requests_are_aborted_by_name(client: Client):
    long = {**ask(max_new_tokens=4000, ignore_eos=True), "rid": "long"}
    asked = [asyncio.create_task(client.post("/generate", long | {"rid": name})) for name in ("one", "two", "two")]

    async def under_way() -> bool:
        return (await client.load())["running"] == 3

    await until(under_way)
    assert (await client.post("/abort_request", {"rid": "two"}))[1] == {"aborted": 2}
    assert (await asked[1])[1]["error"]["code"] == "aborted"
    assert (await client.post("/abort_request", {"abort_all": True}))[1] == {"aborted": 1}
    assert [(await each)[0] for each in asked] == [409, 409, 409]
    assert (await client.post("/abort_request", {}))[0] == 400
    assert (await client.post("/abort_request", b"{"))[0] == 400
