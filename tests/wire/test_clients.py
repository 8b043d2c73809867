"""The stream contract as the official clients read it, over a real socket, in every chunking.

The server below writes bytes made with `colonnade.wire.stream`, cut as the test says, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from colonnade.wire.contract import violations
from colonnade.wire.errors import ReplicaLost
from colonnade.wire.stream import DONE, KEEP_ALIVE, EventId, event, tokens_line, usage_line

WHOLE, BYTES, LINES = "whole", "byte by byte", "line by line"
CUTS = pytest.mark.parametrize("cut", [WHOLE, BYTES, LINES])


def pieces(body: bytes, cut: str) -> list[bytes]:
    match cut:
        case "whole":
            return [body]
        case "line by line":
            return body.splitlines(keepends=True)
        case _:
            return [body[i : i + 1] for i in range(len(body))]


@asynccontextmanager
async def serving(body: bytes, cut: str = WHOLE) -> AsyncIterator[str]:
    """A server that answers every request with `body`, one HTTP chunk for each piece; yields its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        for piece in pieces(body, cut):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "colonnade-tiny",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}],
    }


def at(first: str, second: str) -> EventId:
    read = EventId.parse(f"e1/{first},{second}")
    assert read is not None
    return read


USAGE = {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}
SENT: list[tuple[bytes, dict[str, Any], EventId]] = [
    (usage_line(5, 2, 0), chunk(0, {"role": "assistant", "content": ""}), at("0", "0")),
    (KEEP_ALIVE, chunk(1, {"role": "assistant", "content": ""}), at("0", "0")),
    (tokens_line(0, [7]) + KEEP_ALIVE + tokens_line(0, [8, 9]), chunk(0, {"content": "Grüße\u2028\n"}), at("3", "0")),
    (tokens_line(1, [4]), chunk(1, {"content": ": data: x\n\n"}), at("3", "1")),
    (tokens_line(0, [2]), chunk(0, {}, "stop"), at("4f", "1")),
    (KEEP_ALIVE * 3 + tokens_line(1, [2]), chunk(1, {}, "length"), at("4f", "2f")),
    (usage_line(5, 2, 6), chunk(0, {}) | {"choices": [], "usage": USAGE}, at("4f", "2f")),
]
BLOCKS = [head + event(msgspec.json.encode(data), event_id) for head, data, event_id in SENT]
CHAT = b"".join(BLOCKS) + DONE
DATA = [data for _, data, _ in SENT]
BROKEN = b"".join(BLOCKS[:4]) + event(msgspec.json.encode(ReplicaLost("gone", hint="try again").envelope("req_1")))
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True, "n": 2}


def read_chat(url: str) -> list[dict[str, Any]]:
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0, _strict_response_validation=True) as client:
        return [each.to_dict() for each in client.chat.completions.create(**ASK)]


async def read_chat_async(url: str) -> list[dict[str, Any]]:
    async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0, _strict_response_validation=True) as client:
        return [each.to_dict() async for each in await client.chat.completions.create(**ASK)]


def test_what_we_send_keeps_the_contract() -> None:
    assert violations(CHAT) == []
    assert violations(BROKEN) == []
    assert violations(MESSAGES + DONE) == []


@CUTS
async def test_openai(cut: str) -> None:
    async with serving(CHAT, cut) as url:
        assert await asyncio.to_thread(read_chat, url) == DATA


@CUTS
async def test_openai_async(cut: str) -> None:
    async with serving(CHAT, cut) as url:
        assert await read_chat_async(url) == DATA


@CUTS
async def test_openai_raises_the_error_that_comes_inside_a_stream(cut: str) -> None:
    async with serving(BROKEN, cut) as url:
        with pytest.raises(openai.APIError, match="gone") as caught:
            await read_chat_async(url)
    assert caught.value.code == "replica_lost"
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["retryable"] is True


@pytest.mark.parametrize("block", [KEEP_ALIVE + b"\n", usage_line(5, 2, 0) + b"\n", b": hello\n\n"])
async def test_why_no_block_is_without_data(block: bytes) -> None:
    """The reason for rule 1: after an id, the openai client takes a block without data for an event, and fails to
    parse it. When this test fails the client has changed; the rule stays, for the clients that people have."""
    async with serving(BLOCKS[0] + block + BLOCKS[1] + DONE) as url:
        with pytest.raises(ValueError, match="Expecting value"):
            await read_chat_async(url)
    async with serving(block + BLOCKS[0] + DONE) as url:  # before any id it does not mind
        assert await read_chat_async(url) == DATA[:1]


def message_events() -> list[tuple[bytes, dict[str, Any]]]:
    usage = {"input_tokens": 5, "output_tokens": 0}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "colonnade-tiny", "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    return [
        (usage_line(5, 2, 0), {"type": "message_start", "message": message}),
        (b"", {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        (
            tokens_line(0, [7]),
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grü"}},
        ),
        (KEEP_ALIVE, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ße"}}),
        (tokens_line(0, [2]), {"type": "content_block_stop", "index": 0}),
        (
            usage_line(5, 2, 2),
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 2},
            },
        ),
        (usage_line(5, 2, 2), {"type": "message_stop"}),
    ]


POSITIONS = [0, 0, 1, 1, 2, 2, 2]
MESSAGE_BLOCKS = [
    head + event(msgspec.json.encode(data), EventId("e1", (position,), (False,)), data["type"])
    for (head, data), position in zip(message_events(), POSITIONS, strict=True)
]
MESSAGES = b"".join(MESSAGE_BLOCKS)
ASK_MESSAGE: dict[str, Any] = {"model": "m", "messages": ASK["messages"], "max_tokens": 9, "stream": True}


def read_messages(url: str) -> list[dict[str, Any]]:
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0, _strict_response_validation=True) as client:
        return [each.to_dict() for each in client.messages.create(**ASK_MESSAGE)]


async def read_messages_async(url: str) -> list[dict[str, Any]]:
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key="k", max_retries=0, _strict_response_validation=True
    ) as client:
        return [each.to_dict() async for each in await client.messages.create(**ASK_MESSAGE)]


@CUTS
async def test_anthropic(cut: str) -> None:
    async with serving(MESSAGES, cut) as url:
        assert await asyncio.to_thread(read_messages, url) == [data for _, data in message_events()]


@CUTS
async def test_anthropic_async(cut: str) -> None:
    async with serving(MESSAGES, cut) as url:
        assert await read_messages_async(url) == [data for _, data in message_events()]


@CUTS
async def test_anthropic_raises_the_error_that_comes_inside_a_stream(cut: str) -> None:
    body = msgspec.json.encode({"type": "error"} | ReplicaLost("gone").envelope("req_1"))
    async with serving(b"".join(MESSAGE_BLOCKS[:3]) + event(body, name="error"), cut) as url:
        with pytest.raises(anthropic.APIStatusError, match="gone"):
            await read_messages_async(url)
