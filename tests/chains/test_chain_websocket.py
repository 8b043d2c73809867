"""A chain's entry over a websocket: a real server, a real client, the step behind a socket of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from chain_rig import Rig, rig, until

from colonnade.chains.face import Face
from colonnade.cli.chaining import served

Socket = aiohttp.ClientWebSocketResponse


@pytest.fixture(params=["inline", "unix"])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rig(request.param) as made:
        yield made


@asynccontextmanager
async def opened(shop: Rig, step: str, query: str = "", **more: Any) -> AsyncIterator[Socket]:
    async with served(Face(shop.client(step), lambda: {"entry": step}), 0) as url:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{url}/run_remote{query}", **more) as socket:
                yield socket


async def told(socket: Socket) -> tuple[list[Any], int | None]:
    """Everything to the end, bytes as they are and text as JSON, and the code of the close."""
    found: list[Any] = []
    async for message in socket:
        found.append(message.data if message.type is aiohttp.WSMsgType.BINARY else json.loads(message.data))
    return found, socket.close_code


async def test_items_go_both_ways_and_both_directions_end(shop: Rig) -> None:
    async with opened(shop, "Mirror", "?trace=1") as socket:
        await socket.send_bytes(b"\x00\x01")
        assert (await socket.receive()).data == b"\x00\x01"  # before the client has ended
        await socket.send_str('{"item": 7}')
        await socket.send_str('{"end": {}}')
        found, code = await told(socket)
    assert found[0] == {"item": 7}
    assert found[1]["end"]["trace"]["step"] == "Mirror"
    assert code == 1000


async def test_an_answer_that_is_no_stream_and_arguments_beside_the_stream(shop: Rig) -> None:
    async with opened(shop, "Sum", f"?arguments={quote(json.dumps({'start': 5}))}") as socket:
        for number in (1, 2, 3):
            await socket.send_str(json.dumps({"item": number}))
        await socket.send_str('{"end": {}}')
        assert await told(socket) == ([{"item": 11}, {"end": {}}], 1000)
    query = quote(json.dumps({"word": "a", "times": 3, "fail": 2}))
    async with opened(shop, "Letters", f"?arguments={query}") as socket:
        found, code = await told(socket)
    assert found[:2] == [{"item": "a"}, {"item": "a"}]
    assert (found[2]["error"]["kind"], code) == ("ValueError", 1011)


@pytest.mark.parametrize(
    ("step", "message", "code"),
    [
        ("Doubler", '{"item": "two"}', "invalid_value"),
        ("Doubler", b"\x01", "invalid_value"),
        ("Doubler", "[]", "invalid_json"),
        ("Doubler", '{"other": 1}', "invalid_json"),
        ("Arrays", '{"item": 1}', "invalid_value"),
    ],
)
async def test_what_a_client_sends_wrong_is_said_and_closes(
    shop: Rig, step: str, message: str | bytes, code: str
) -> None:
    query = quote(json.dumps({"size": 200_000, "times": 1000} if step == "Arrays" else {}))
    async with opened(shop, step, f"?arguments={query}") as socket:
        await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
        found, closed = await told(socket)
    assert (found[-1]["error"]["code"], closed) == (code, 1008)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/run_remote?arguments=3", {}, 400),
        ("/run_remote?timeout=soon", {}, 400),
        ("/other", {}, 404),
        ("/", {}, 405),
        ("/run_remote", {"Origin": "https://example.org"}, 401),
    ],
)
async def test_what_is_wrong_before_it_opens_is_an_answer_of_http(
    shop: Rig, path: str, headers: dict[str, str], status: int
) -> None:
    async with served(Face(shop.client("Mirror"), dict), 0) as url, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url + path, headers=headers)
    assert refused.value.status == status


async def test_a_local_page_may_open_one(shop: Rig) -> None:
    async with opened(shop, "Mirror", headers={"Origin": "http://127.0.0.1:8000"}) as socket:
        await socket.send_str('{"end": {}}')
        assert (await told(socket))[1] == 1000


@pytest.mark.parametrize("way", ["close", "go"])
async def test_a_client_that_closes_or_goes_cancels(shop: Rig, way: str) -> None:
    async with opened(shop, "Mirror") as socket:
        await socket.send_bytes(b"a")
        await socket.receive()
        if way == "go":
            assert socket._response.connection is not None
            assert socket._response.connection.transport is not None
            socket._response.connection.transport.abort()
        else:
            await socket.close()
        await until(lambda: shop.module.SEEN.get("mirror put away") == 1, "the step was cancelled")


async def test_a_step_that_stops_reading_holds_the_client_back(shop: Rig) -> None:
    piece = b"x" * 60_000
    async with opened(shop, "Mirror", f"?arguments={quote(json.dumps({'most': 1}))}") as socket:
        sent = 0

        async def send() -> None:
            nonlocal sent
            while sent < 2000:
                await socket.send_bytes(piece)
                sent += 1

        sending = asyncio.create_task(send())
        await until(lambda: shop.module.SEEN.get("mirrored") == 1, "it has read one")
        seen = -1
        while sent != seen:  # until it stands still
            seen = sent
            for _ in range(500):
                await asyncio.sleep(0)
        assert 1 <= sent < 400  # windows and the kernel's buffers, not 120 MB
        sending.cancel()
        socket._response.close()


async def test_a_client_that_stops_reading_holds_the_step_back(shop: Rig) -> None:
    query = quote(json.dumps({"size": 60_000, "times": 2000}))
    async with opened(shop, "Arrays", f"?arguments={query}", max_msg_size=1 << 30) as socket:
        await until(lambda: shop.module.SEEN.get("arrays", 0) > 1, "it began")
        assert socket._response.connection is not None
        seen = -1
        while shop.module.SEEN["arrays"] != seen:
            seen = shop.module.SEEN["arrays"]
            for _ in range(500):
                await asyncio.sleep(0)
        assert seen < 400
        socket._response.close()


async def test_a_plain_request_says_what_is_missing(shop: Rig) -> None:
    async with served(Face(shop.client("Mirror"), dict), 0) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/run_remote") as answer:
            assert answer.status == 405
            assert "websocket" in (await answer.json())["error"]["hint"]
