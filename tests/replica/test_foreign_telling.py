"""Answers of other engines in our words: published formats in, the stream contract out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.foreign.asking import Asked, Names, asked
from colonnade.replica.foreign.kinds import KINDS, OPENAI, VLLM, Kind
from colonnade.replica.foreign.telling import Heading, StreamTelling, WholeTelling, counts, failure, refusal
from colonnade.wire.contract import violations
from colonnade.wire.errors import ColonnadeError, Internal
from colonnade.wire.stream import DONE, EventId, EventReader

FORMATS = Path(__file__).parent / "foreign_formats"
HEADING = Heading("chatcmpl-mine", 1_700_000_000, "ours")
STREAMS = ("vllm", "sglang", "trtllm", "llamacpp")


def wanted(kind: Kind, **fields: Any) -> Asked:
    body = {"model": "ours", "stream": True, **fields}
    return asked(msgspec.json.encode(body), kind, Names("ours", "theirs"))


def retold(name: str, **fields: Any) -> tuple[bytes, StreamTelling]:
    kind = KINDS[name]
    telling = StreamTelling(HEADING, "e1", wanted(kind, n=2 if name == "trtllm" else 1, **fields))
    events = EventReader().feed((FORMATS / f"{name}_stream.txt").read_bytes())
    return b"".join(written.data for event in events for written in telling.take(event.data)), telling


def bodies(stream: bytes) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event.data) for event in EventReader().feed(stream) if event.data != "[DONE]"]


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("name", STREAMS)
def test_published_streams_become_streams_of_the_contract(name: str, usage: bool) -> None:
    stream, telling = retold(name, stream_options={"include_usage": usage})
    assert violations(stream, told=name == "vllm") == []
    assert telling.done
    assert all(body["id"] == "chatcmpl-mine" and body["model"] == "ours" for body in bodies(stream))
    assert all(body["created"] == 1_700_000_000 for body in bodies(stream))
    assert any("usage" in body for body in bodies(stream)) == usage
    *_, last, done = EventReader().feed(stream)
    told = last.usage()
    assert told is not None
    assert (told["prompt"], told["cached"], told["completion"]) == telling.counted
    assert done.data == "[DONE]"
    assert b"token_ids" not in stream


def test_vllm_tells_the_tokens() -> None:
    stream, telling = retold("vllm")
    tokens = [line for event in EventReader().feed(stream) for line in event.tokens()]
    assert tokens == [(0, [450, 2533]), (0, [338, 29871, 29955]), (0, [2])]
    assert [event.id for event in EventReader().feed(stream)] == ["e1/0", "e1/2", "e1/5", "e1/6f", ""]
    assert telling.counted == (9, 4, 6)


def test_who_asked_for_token_ids_gets_them() -> None:
    stream, _ = retold("vllm", return_token_ids=True)
    assert bodies(stream)[0]["prompt_token_ids"] == list(range(1, 10))
    assert bodies(stream)[1]["choices"][0]["token_ids"] == [450, 2533]


def test_positions_count_events_where_no_tokens_are_told() -> None:
    stream, telling = retold("trtllm")
    assert [event.id for event in EventReader().feed(stream)] == ["e1/1,0", "e1/1,1", "e1/1,2f", "e1/2f,2f", ""]
    assert telling.counted == (6, 0, 4)


def test_an_answer_without_usage_counts_what_passed() -> None:
    telling = StreamTelling(HEADING, "e1", wanted(OPENAI, stream_options={"include_usage": True}))
    data = '{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}'
    stream = b"".join(written.data for each in (data, '{"choices":[]}', "[DONE]") for written in telling.take(each))
    assert b"usage" not in stream
    assert telling.counted == (0, 0, 1)


def test_one_block_that_is_first_and_last_has_one_usage_line() -> None:
    telling = StreamTelling(HEADING, "e1", wanted(VLLM))
    usage = '"usage":{"prompt_tokens":3,"completion_tokens":1}'
    data = '{"choices":[{"index":0,"delta":{},"finish_reason":"length","token_ids":[5]}],' + usage + "}"
    stream = b"".join(written.data for each in (data, "[DONE]") for written in telling.take(each))
    assert stream.count(b": usage") == 1
    assert violations(stream) == []


def test_an_end_without_a_finish_is_only_an_end() -> None:
    telling = StreamTelling(HEADING, "e1", wanted(OPENAI))
    assert [written.data for written in telling.take("[DONE]")] == [DONE]


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 9), max_size=3), st.booleans()), max_size=12))
def test_any_order_of_choices_keeps_the_contract(parts: list[tuple[int, list[int], bool]]) -> None:
    telling = StreamTelling(HEADING, "e1", wanted(VLLM, n=3))
    total, ended, stream = 0, set[int](), b""
    for index, ids, ends in [*parts, *((index, [7], True) for index in range(3))]:
        if index in ended:
            continue
        total += len(ids)
        ended |= {index} if ends else set()
        chunk = {
            "choices": [{"index": index, "delta": {}, "finish_reason": "stop" if ends else None, "token_ids": ids}],
            "usage": {"prompt_tokens": 4, "completion_tokens": total},
        }
        stream += b"".join(written.data for written in telling.take(msgspec.json.encode(chunk).decode()))
    stream += b"".join(written.data for written in telling.take("[DONE]"))
    assert violations(stream) == []
    last = EventId.parse(EventReader().feed(stream)[-2].id)
    assert last is not None
    assert sum(last.positions) == total == telling.tokens


WHOLE = {
    "id": "theirs",
    "model": "theirs",
    "prompt_token_ids": [1],
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "7"}, "token_ids": [9]}, None],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
}


def test_a_whole_answer() -> None:
    telling = WholeTelling(HEADING, wanted(VLLM))
    (written,) = telling.take(msgspec.json.encode(WHOLE).decode())
    body = msgspec.json.decode(written.data)
    assert (body["id"], body["model"], body["created"]) == ("chatcmpl-mine", "ours", 1_700_000_000)
    assert "prompt_token_ids" not in body
    assert "token_ids" not in body["choices"][0]
    assert telling.counted == (3, 2, 1)
    kept = WholeTelling(HEADING, wanted(VLLM, return_token_ids=True)).take(msgspec.json.encode(WHOLE).decode())
    assert b"prompt_token_ids" in kept[0].data


def test_usage_that_says_nothing() -> None:
    assert counts(None) == counts({"prompt_tokens": None}) == (0, 0, 0)


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        ('{"error":{"message":"boom","code":400}}', "invalid_value", "boom"),
        ('{"error":{"message":"boom","code":"replica_lost"}}', "replica_lost", "boom"),
        ('{"object":"error","message":"old","code":503}', "overloaded", "old"),
        ('{"error":"only words"}', "replica_lost", "only words"),
        ("nonsense", "internal_error", "not JSON"),
        ("[1]", "internal_error", "not a JSON object"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_errors_inside_an_answer(data: str, code: str, said: str, stream: bool) -> None:
    wants = wanted(OPENAI)
    telling = StreamTelling(HEADING, "e1", wants) if stream else WholeTelling(HEADING, wants)
    with pytest.raises(ColonnadeError, match=said) as raised:
        telling.take(data)
    assert raised.value.reason == code


def test_a_choice_that_nobody_asked_for() -> None:
    with pytest.raises(Internal, match="choice 1"):
        StreamTelling(HEADING, "e1", wanted(OPENAI)).take('{"choices":[{"index":1}]}')


@pytest.mark.parametrize(
    ("status", "body", "ours", "code", "said"),
    [
        (401, b"", 500, "internal_error", "answered 401"),
        (403, b'{"error":{"message":"no"}}', 500, "internal_error", "no"),
        (429, b'{"error":{"message":"slow down"}}', 429, "rate_limited", "slow down"),
        (
            503,
            b'{"error":{"message":"Loading model","code":503}}',
            503,
            "overloaded",
            "Load",
        ),
        (502, b"<html>bad gateway</html>", 502, "replica_lost", "bad gateway"),
        (504, b"", 502, "replica_lost", "504"),
        (500, b'{"object":"error","message":"cuda"}', 500, "internal_error", "cuda"),
        (422, b'{"detail":[{"loc":["body","n"]}]}', 400, "invalid_value", "body"),
        (400, b'{"error":{"message":"bad","param":"top_p"}}', 400, "invalid_value", "bad"),
        (
            400,
            b'{"error":{"code":400,"message":"the request exceeds","type":"exceed_context_size_error"}}',
            400,
            "context_length_exceeded",
            "exceeds",
        ),
        (400, b'{"message":"This model\'s maximum context length is 8"}', 400, "context_length_exceeded", "maximum"),
    ],
)
def test_refusals(status: int, body: bytes, ours: int, code: str, said: str) -> None:
    error = failure(body, status)
    assert (error.status, error.reason) == (ours, code)
    assert said in error.message


def test_a_refusal_names_the_field() -> None:
    assert refusal(400, {"error": {"message": "bad", "param": "top_p"}}).param == "top_p"
    assert refusal(400, None).message == "the engine answered 400"
