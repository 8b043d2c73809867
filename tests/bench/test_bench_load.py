"""The load against a server that speaks the contract, well and badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import sse_server
from sse_server import KEY, Server

from colonnade.bench import load
from colonnade.bench.measurement import Measured
from colonnade.bench.prompts import Prompts, Scale, Vocabulary
from colonnade.bench.trace import Request
from colonnade.wire.errors import ColonnadeError, Internal, NotFound, Unauthenticated

REQUESTS = [Request(0.0, 20, 3), Request(0.01, 30, 4), Request(0.02, 500, 500)]
PROMPTS = Prompts(Vocabulary.of(1024), Scale(1.0, 64))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with sse_server.serving() as server:
        yield server


async def drive(server: Server, timeout: float = 30.0) -> list[Measured]:
    seen: list[Measured] = []
    planned = load.plan(REQUESTS, PROMPTS, "m")
    measured = await load.run(load.Target(server.url, KEY, timeout), planned, seen.append)
    assert sorted(seen, key=lambda each: each.planned) == measured
    return measured


async def test_every_request_is_sent_as_planned_and_measured(server: Server) -> None:
    measured = await drive(server)
    assert [each.error for each in measured] == ["", "", ""]
    assert [each.completion for each in measured] == [3, 4, 32]
    assert [each.prompt for each in measured] == [20, 30, 32]
    assert [each.cached for each in measured] == [10, 15, 16]
    assert [each.sized.clipped for each in measured] == [False, False, True]
    assert all(each.planned <= each.sent <= (each.first or 0) + each.planned <= each.ended for each in measured)
    body = min(server.bodies, key=lambda body: len(body["prompt"]))
    assert body | {"prompt": []} == {
        "model": "m",
        "prompt": [],
        "max_tokens": 3,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("behave", "code"),
    [("overloaded", "overloaded"), ("lost", "replica_lost"), ("cut", "stream_broken"), ("html", "http_502")],
)
async def test_failures_are_counted_by_their_code(server: Server, behave: str, code: str) -> None:
    server.behave = behave
    assert {each.error for each in await drive(server)} == {code}


async def test_a_silent_server_times_out_and_delays_nobody(server: Server) -> None:
    server.behave = "silent"
    measured = await drive(server, timeout=0.2)
    assert {each.error for each in measured} == {"timeout"}
    assert len(server.bodies) == 3


async def test_the_loop_is_open(server: Server) -> None:
    """All requests arrive although none is answered yet."""
    server.behave = "silent"
    running = asyncio.create_task(drive(server))
    async with asyncio.timeout(10):
        while len(server.bodies) < 3:
            await asyncio.sleep(0)
    server.gate.set()
    assert all(each.ok for each in await running)


async def test_a_connection_that_nobody_takes(server: Server) -> None:
    gone = load.Target("http://127.0.0.1:9", KEY)
    measured = await load.run(gone, load.plan(REQUESTS[:1], PROMPTS, "m"), lambda _: None)
    assert measured[0].error == "connection_refused"


async def test_which_model(server: Server) -> None:
    served = await load.models(load.Target(server.url, KEY))
    assert load.choose(served, None)["vocab_size"] == 1024
    assert load.choose(served, "m") == served[0]
    with pytest.raises(NotFound, match="not served") as refused:
        load.choose(served, "other")
    assert refused.value.hint == "served: m"


async def test_servers_that_are_no_target(server: Server) -> None:
    with pytest.raises(Unauthenticated):
        await load.models(load.Target(server.url, "wrong"))
    with pytest.raises(NotFound) as absent:
        await load.models(load.Target("http://127.0.0.1:9"))
    assert absent.value.reason == "not_running"
    assert "--serve" in absent.value.hint


async def test_an_answer_that_is_no_list(server: Server) -> None:
    async def html(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(html, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Internal) as strange:
            await load.models(load.Target(f"http://127.0.0.1:{port}"))
        assert isinstance(strange.value, ColonnadeError)
