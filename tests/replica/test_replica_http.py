"""The HTTP face over the real engine process, with a model that says what it is told."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import zmq
import zmq.asyncio
from replica_process import CONTEXT, Client, Replica, Start, until
from tokenizers import Tokenizer

from colonnade.replica.app import ROUTES
from colonnade.wire.messages import Envelope, LoadChanged
from colonnade.wire.stream import EventId, EventReader

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
PARROT = ("--engine-module", "parrot", "--epoch", "e1")


@pytest.fixture(scope="module")
def replica(start_replica: Start, parrot_folder: Callable[..., Path]) -> Replica:
    """Its steps take 2 ms, so that a long answer outlasts what a test does meanwhile."""
    return start_replica(parrot_folder(0.002), *PARROT, "--keep-alive=100ms", "--spool-limit=64KiB")


@pytest.fixture(scope="module")
def tokenizer(parrot_folder: Callable[..., Path]) -> Tokenizer:
    return Tokenizer.from_file(str(parrot_folder() / "tokenizer.json"))


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "parrot", "messages": [{"role": "user", "content": text}], **fields}


def text_of(events: list[Any]) -> str:
    bodies = [json.loads(event.data) for event in events if event.data != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for body in bodies for choice in body["choices"])


async def test_a_chat_whole_and_streamed_are_the_same(client: Client):
    status, whole = await client.post(CHAT, say("Grüße, 世界 🎉"))
    assert status == 200
    assert whole["choices"][0]["message"]["content"] == "Grüße, 世界 🎉"
    assert whole["choices"][0]["finish_reason"] == "stop"
    events = await client.stream(CHAT, say("Grüße, 世界 🎉"))
    assert text_of(events) == "Grüße, 世界 🎉"
    assert events[-1].data == "[DONE]"


async def test_the_stream_keeps_the_contract(client: Client, tokenizer: Tokenizer):
    said = tokenizer.encode("Hi 🎉").ids
    events = await client.stream(TEXT, {"model": "parrot", "prompt": said, "max_tokens": len(said)})
    tokens = [token for event in events for _, ids in event.tokens() for token in ids]
    assert tokens == said
    assert events[0].comments[0] == f"usage prompt={len(said)} cached=0 completion=0"
    assert events[-2].usage() == {"prompt": len(said), "cached": 0, "completion": len(said)}
    last = EventId.parse(events[-2].id)
    assert last == EventId("e1", (len(said),), (True,))
    assert all(event.data for event in events)
    assert all(event.id for event in events[:-1])


async def test_half_a_character_goes_out_as_a_comment_at_once(client: Client, tokenizer: Tokenizer):
    """The first of the tokens of 🎉, again and again."""
    half = tokenizer.encode("🎉").ids[0]
    body = {"model": "parrot", "prompt": [half], "max_tokens": 90_000, "stream": True}
    async with client.open(TEXT, body) as answer:
        assert (await answer.content.readline()).startswith(b": usage")
        assert await answer.content.readline() == b": tokens 0 %d\n" % half


async def test_equal_requests_give_equal_answers(client: Client):
    headers = {"Colonnade_Request_Id": "same", "Colonnade_Created": "5", "Colonnade_Seed": "9"}
    answers = [await client.post(CHAT, say("Hi"), **headers) for _ in range(2)]
    for _, answer in answers:
        answer["usage"].pop("prompt_tokens_details")
    assert answers[0] == answers[1]
    assert answers[0][1]["id"] == "chatcmpl-same"
    assert answers[0][1]["created"] == 5


async def test_choices_share_the_prompt(client: Client):
    status, answer = await client.post(CHAT, say("Share this", n=3))
    assert status == 200
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["Share this"] * 3
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    _, models = await client.get("/v1/models")
    assert models["data"][0]["kernels"] == "parrot"


async def test_several_prompts(client: Client):
    body = {"model": "parrot", "prompt": ["ab", "cd"], "n": 2, "max_tokens": 2}
    status, answer = await client.post(TEXT, body)
    assert status == 200
    texts = [choice["text"] for choice in answer["choices"]]
    assert texts[0] == texts[1]
    assert texts[2] == texts[3]
    assert answer["usage"]["completion_tokens"] == 8


async def test_stop_strings_end_the_answer(client: Client):
    _, answer = await client.post(CHAT, say("one two three four", stop=["three"]))
    assert answer["choices"][0]["message"]["content"] == "one two "
    assert answer["choices"][0]["finish_reason"] == "stop"
    await client.idle()


async def test_tool_calls(client: Client):
    tool = {"type": "function", "function": {"name": "book", "parameters": {"type": "object"}}}
    told = 'Ok. <tool_call>\n{"name": "book", "arguments": {"day": "Monday"}}\n</tool_call>'
    _, answer = await client.post(CHAT, say(told, tools=[tool]))
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Ok."
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "book", "arguments": '{"day": "Monday"}'}
    _, plain = await client.post(CHAT, say(told))
    assert plain["choices"][0]["message"]["content"] == told


async def test_one_tool_call_where_only_one_is_allowed(client: Client):
    tool = {"type": "function", "function": {"name": "f"}}
    call = '<tool_call>{"name": "f"}</tool_call>'
    _, answer = await client.post(CHAT, say(call * 3, tools=[tool], parallel_tool_calls=False))
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1
    await client.idle()


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (say("Hi", temperature="hot"), "temperature", "invalid_value"),
        (say("Hi", model="gpt-4"), "model", "model_not_found"),
        (say("Hi", max_tokens=CONTEXT), "max_tokens", "context_length_exceeded"),
        (say("x " * CONTEXT), "messages", "context_length_exceeded"),
        (say("Hi", stop_token_ids=[99999]), "stop_token_ids", "invalid_value"),
        (b"\xff", None, "invalid_json"),
    ],
)
async def test_what_cannot_be_served_is_refused_and_named(client: Client, body: Any, param: str | None, code: str):
    status, answer = await client.post(CHAT, body, Colonnade_Request_Id="r7")
    assert status == 400
    assert (answer["error"]["param"], answer["error"]["code"]) == (param, code)
    assert answer["error"]["type"] == "invalid_request_error"


async def test_unknown_fields_warn(client: Client):
    async with client.open(CHAT, say("Hi", tempersture=1)) as answer:
        assert answer.status == 200
        assert answer.headers["Colonnade-Warning"] == "unknown field tempersture"
        assert answer.headers["Colonnade-Epoch"] == "e1"
        assert answer.headers["Colonnade-Fingerprint"] == "parrot"
        assert answer.headers["Colonnade-Request-Id"] == answer.headers["x-request-id"]


async def test_an_empty_prompt_is_refused(client: Client):
    status, answer = await client.post(TEXT, {"model": "parrot", "prompt": ""})
    assert (status, answer["error"]["param"]) == (400, "prompt")


async def test_a_request_that_fails_in_the_engine(client: Client):
    status, answer = await client.post(CHAT, say("</tool_response>"))
    assert status == 500
    assert "out of luck" in answer["error"]["message"]
    events = await client.stream(CHAT, say("ab </tool_response>"))
    assert json.loads(events[-1].data)["error"]["code"] == "internal_error"
    assert text_of(events[:-1]) == "ab "


async def test_paths_and_methods(client: Client):
    assert (await client.get("/nowhere"))[1]["error"]["code"] == "not_found"
    assert (await client.get(CHAT))[0] == 405
    for method, path, _ in ROUTES:
        if method == "GET" and "{" not in path:
            async with client.session.get(client.url + path) as answer:
                assert answer.status == 200, path


async def test_facts_of_the_model(client: Client):
    _, models = await client.get("/v1/models")
    (card,) = models["data"]
    assert await client.get("/v1/models/parrot") == (200, card)
    assert (await client.get("/v1/models/gpt-4"))[1]["error"]["code"] == "model_not_found"
    told = {name: card[name] for name in ("id", "object", "max_model_len", "fingerprint", "quantization", "license")}
    assert told == {
        "id": "parrot",
        "object": "model",
        "max_model_len": CONTEXT,
        "fingerprint": "parrot",
        "quantization": "none",
        "license": "apache-2.0",
    }


async def test_a_client_that_goes_frees_the_engine(client: Client):
    endless = {"model": "parrot", "prompt": "abc", "max_tokens": 90_000}
    async with client.open(TEXT, endless | {"stream": True}) as answer:
        await answer.content.readany()
        assert (await client.load())["running"] == 1
        answer.close()
        await client.idle()
    whole = asyncio.create_task(client.post(TEXT, endless))

    async def runs() -> bool:
        return (await client.load())["running"] == 1

    await until(runs)
    whole.cancel()
    await client.idle()


async def test_a_stream_is_resumed_byte_for_byte(client: Client):
    body = say("one two three four five six seven", stream=True)
    headers = {"Colonnade_Request_Id": "back", "Colonnade_Resume": "60", "Colonnade_Tenant": "acme"}
    async with client.open(CHAT, body, **headers) as answer:
        seen = EventReader().feed(await answer.content.readuntil(b"\n\n") + await answer.content.readuntil(b"\n\n"))
        answer.close()
    async with client.open(CHAT, body, Last_Event_ID=seen[-1].id, **headers) as answer:
        assert answer.status == 200
        rest = EventReader().feed(await answer.read())
    whole = await client.stream(CHAT, body, **headers)
    assert [event.data for event in seen + rest] == [event.data for event in whole]
    for wrong in ({"Last_Event_ID": "e1/999"}, {"Last_Event_ID": "e2/1"}, {"Last_Event_ID": "?"}):
        status, refused = await client.post(CHAT, body, **headers | wrong)
        assert (status, refused["error"]["code"], refused["error"]["retryable"]) == (409, "stream_gone", True)
    status, _ = await client.post(CHAT, body, **headers | {"Last_Event_ID": "e1/1", "Colonnade_Tenant": "other"})
    assert status == 409


async def test_a_resumable_stream_that_nobody_comes_back_for_is_cancelled(client: Client):
    """Takes the one second for which it may be resumed."""
    body = {"model": "parrot", "prompt": "abc", "max_tokens": 90_000, "stream": True}
    async with client.open(TEXT, body, Colonnade_Request_Id="lost", Colonnade_Resume="1") as answer:
        seen = EventReader().feed(await answer.content.readuntil(b"\n\n"))
        answer.close()
    assert (await client.load())["running"] == 1
    await client.idle()
    headers = {"Colonnade_Request_Id": "lost", "Colonnade_Resume": "1", "Last_Event_ID": seen[-1].id}
    assert (await client.post(TEXT, body, **headers))[0] == 409


async def test_a_second_reader_takes_over(client: Client):
    body = {"model": "parrot", "prompt": "abc", "max_tokens": 300, "stream": True}
    headers = {"Colonnade_Request_Id": "twice", "Colonnade_Resume": "60"}
    async with client.open(TEXT, body, **headers) as first:
        seen = EventReader().feed(await first.content.readuntil(b"\n\n"))
        async with client.open(TEXT, body, Last_Event_ID=seen[-1].id, **headers) as second:
            assert (await second.read()).endswith(b"data: [DONE]\n\n")


async def test_a_slow_reader_is_cut_off_and_holds_nothing(start_replica: Start, parrot_folder: Callable[..., Path]):
    """As fast as the engine can, to fill the buffers between the two in a second or so."""
    replica = start_replica(parrot_folder(), *PARROT, "--spool-limit=64KiB")
    async with aiohttp.ClientSession() as session:
        client = Client(session, replica.url)
        await client.ready()
        assert b"reader_too_slow" in await _read_slowly(client, replica)
        assert (await client.load())["running"] == 0


async def _read_slowly(client: Client, replica: Replica) -> bytes:
    """The end of what came."""
    body = json.dumps({"model": "parrot", "prompt": "abc", "max_tokens": 90_000, "stream": True}).encode()
    port = int(replica.url.rpartition(":")[2])
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        async def runs() -> bool:
            return (await client.load())["running"] == 1

        await until(runs)
        await client.idle()
        # The window opens again: segments of 2 KiB, each behind a probe's back-off, once took minutes to come.
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        slow.settimeout(60)
        tail = b""
        while b"reader_too_slow" not in tail:
            part = slow.recv(1 << 16)
            assert part, f"the stream ended without a word: {tail[-300:]!r}"
            tail = tail[-1000:] + part
        return tail


@pytest.fixture(scope="module")
def held_folder(parrot_folder: Callable[..., Path]) -> Path:
    """Of a parrot that stands still where it is told to, until this folder has a file `release`."""
    return parrot_folder()


@pytest.fixture(scope="module")
def held_replica(start_replica: Start, held_folder: Path) -> Replica:
    return start_replica(held_folder, *PARROT, "--keep-alive=100ms")


@pytest.fixture
async def held(held_replica: Replica, held_folder: Path) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        made = Client(session, held_replica.url)
        await made.ready()
        yield made
    (held_folder / "release").unlink(missing_ok=True)


@pytest.mark.parametrize("begin", ["", "ab"])
async def test_silence_is_filled_with_keep_alives(held: Client, held_folder: Path, begin: str):
    async with held.open(CHAT, say(f"{begin}<|endoftext|>cd", stream=True)) as answer:
        lines: list[bytes] = []
        while lines[-1:] != [b":\n"]:
            lines.append(await answer.content.readline())
        (held_folder / "release").touch()
        rest = await answer.read()
    assert text_of(EventReader().feed(b"".join(lines) + rest)) == f"{begin}cd"


async def test_a_resumable_stream_goes_on_while_nobody_reads(held: Client, held_folder: Path):
    body = say("ab<|endoftext|>cd", stream=True)
    headers = {"Colonnade_Request_Id": "away", "Colonnade_Resume": "60"}
    async with held.open(CHAT, body, **headers) as answer:
        seen = EventReader().feed(await answer.content.readuntil(b"\n\n") + await answer.content.readuntil(b"\n\n"))
        answer.close()
    (held_folder / "release").touch()
    await held.idle()
    async with held.open(CHAT, body, Last_Event_ID=seen[-1].id, **headers) as answer:
        rest = EventReader().feed(await answer.read())
    assert text_of(seen + rest) == "abcd"


async def test_events_and_snapshot_agree(client: Client, replica: Replica):
    with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.connect(replica.events)
        subscriber.subscribe(b"")
        envelope = None
        while envelope is None:
            await client.post(CHAT, say("Hi"))
            if await subscriber.poll(50):
                envelope = msgspec.msgpack.decode(await subscriber.recv(), type=Envelope)
        assert envelope.epoch == "e1"
        _, snapshot = await client.get("/snapshot")
        assert snapshot["seq"] >= envelope.seq
        seq = envelope.seq
        while seq < snapshot["seq"]:
            envelope = msgspec.msgpack.decode(await subscriber.recv(), type=Envelope)
            assert envelope.seq == seq + 1
            seq = envelope.seq
        if isinstance(envelope.event, LoadChanged):
            assert msgspec.to_builtins(envelope.event.load) == snapshot["load"]


async def test_metrics(client: Client):
    await client.post(CHAT, say("Hi"))
    async with client.session.get(client.url + "/metrics") as answer:
        page = await answer.text()
    assert 'colonnade_replica_requests_total{endpoint="chat",outcome="ok"}' in page
    assert 'colonnade_replica_phase{phase="ready"} 1.0' in page
    assert "colonnade_replica_token_gap_seconds_bucket" in page
