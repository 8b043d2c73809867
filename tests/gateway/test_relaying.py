"""The whole way, over sockets: requests reach workers as they should, answers come back as they should."""

from __future__ import annotations

import asyncio
import re

import openai
import pytest
from fake_worker import STREAM_HEAD, Connection, Got, by_contract, chunked, contract_events, response
from gateway_house import KEY, House, post_bytes, until

from colonnade.gateway.plane import Limits
from colonnade.wire.contract import violations

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


async def test_an_answer_comes_back_whole(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    reply = await house.ask(gateway)
    assert reply.status == 200
    assert reply.json()["choices"][0]["message"]["content"] == "one two three four five six"
    assert reply.json()["id"] == f"chatcmpl-{reply.headers['colonnade-request-id']}"


async def test_what_a_worker_is_told(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    sent = {
        "Colonnade-Tenant": "somebody-else",
        "Colonnade-Request-Id": "mine_1",
        "Colonnade-Seed": "7",
        "Cookie": "secret=1",
        "X-Api-Key": "other",
        "Colonnade-Resume": "30",
        "Traceparent": TRACE,
        "Connection": "keep-alive, x-hop",
        "X-Hop": "1",
    }
    reply = await house.ask(gateway, headers=sent)
    got = worker.requests[0].headers
    assert reply.headers["colonnade-request-id"] == got["colonnade-request-id"] == "mine_1"
    assert got["colonnade-tenant"] == "acme"
    assert 0 <= int(got["colonnade-seed"]) < 2**63
    assert got["colonnade-seed"] != "7"
    assert int(got["colonnade-created"]) > 1_700_000_000
    assert got["colonnade-resume"] == "30"
    assert got["traceparent"] == TRACE
    assert not {"cookie", "authorization", "x-api-key", "x-hop", "connection"} & got.keys()


async def test_an_id_that_is_none_is_replaced(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    reply = await house.ask(gateway, headers={"Colonnade-Request-Id": "no good"})
    assert reply.headers["colonnade-request-id"] not in ("", "no good")


async def test_a_stream_keeps_the_contract(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    reply = await house.ask(gateway, stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["colonnade-epoch"] == "w0"
    assert violations(reply.body) == []


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 31])
async def test_only_whole_events_whatever_the_split(house: House, size: int) -> None:
    events = b"".join(contract_events("r", 1, "w0", ["a", "b"]))

    async def answer(connection: Connection, got: Got) -> None:
        connection.write(STREAM_HEAD)
        for start in range(0, len(events), size):
            connection.write(chunked(events[start : start + size]))
            await asyncio.sleep(0)
        connection.write(b"0\r\n\r\n")

    gateway = await house.gateway(await house.worker(answer))
    client = await house.client(gateway)
    client.post(stream=True)
    await client.head()
    whole = b""
    while data := await client.chunk():
        assert data.endswith(b"\n\n")
        whole += data
    assert whole == events


async def test_an_event_is_passed_on_while_the_next_is_unfinished(house: House) -> None:
    first, second, *_ = contract_events("r", 1, "w0", ["a", "b"])
    more = asyncio.Event()

    async def answer(connection: Connection, got: Got) -> None:
        connection.write(STREAM_HEAD + chunked(first + second[:10]))
        await more.wait()
        connection.write(chunked(second[10:]) + b"0\r\n\r\n")

    gateway = await house.gateway(await house.worker(answer))
    client = await house.client(gateway)
    client.post(stream=True)
    await client.head()
    assert await client.chunk() == first
    more.set()
    assert await client.chunk() == second
    assert await client.chunk() == b""


async def test_an_event_that_never_ends_is_cut_off(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(STREAM_HEAD + chunked(b"data: 1\n\n"))
        while await connection.send(chunked(b"data: " + b"x" * 5000)):
            await asyncio.sleep(0)

    gateway = await house.gateway(await house.worker(answer), limits=Limits(event=20_000, tick=0.02))
    reply = await house.ask(gateway, stream=True)
    assert reply.body.startswith(b'data: 1\n\ndata: {"error"')
    assert b"internal_error" in reply.body


async def test_half_an_event_at_the_end_is_dropped(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(response(b"data: 1\n\ndata: ha", content_type="text/event-stream"))

    gateway = await house.gateway(await house.worker(answer))
    client = await house.client(gateway)
    for _ in range(2):
        client.post(stream=True)
        assert (await client.reply()).body == b"data: 1\n\n"


async def test_connections_are_kept_on_both_sides(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    client = await house.client(gateway)
    for _ in range(5):
        client.post()
        assert (await client.reply()).status == 200
        client.post(stream=True)
        assert (await client.reply()).status == 200
    assert len(worker.requests) == 10
    assert worker.accepted == 1


async def test_requests_sent_ahead_are_answered_in_order(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    ids = [f"r{number}" for number in range(8)]
    client.write(b"".join(post_bytes(headers={"Colonnade-Request-Id": each}) for each in ids))
    replies = [await client.reply() for _ in ids]
    assert [reply.headers["colonnade-request-id"] for reply in replies] == ids
    client.get("/live")
    assert (await client.reply()).status == 200


async def test_a_request_may_come_byte_by_byte_and_in_chunks(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    client = await house.client(gateway)
    head = (
        "POST /v1/chat/completions?x=1 HTTP/1.1\r\nhost: g\r\nauthorization: bearer " + KEY + "\r\n"
        "transfer-encoding: chunked\r\n\r\n"
    )
    for byte in head.encode() + chunked(b'{"model":') + chunked(b'"tiny"}') + b"0\r\nX-Trailer: 1\r\n\r\n":
        client.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await client.reply()).status == 200
    assert worker.requests[0].body == b'{"model":"tiny"}'
    assert "x-trailer" not in worker.requests[0].headers


async def test_a_client_that_waits_for_100_continue_is_asked_on(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    head, _, body = post_bytes(headers={"Expect": "100-continue"}).partition(b"\r\n\r\n")
    client.write(head + b"\r\n\r\n")
    assert (await client.head())[0] == 100
    client.write(body)
    assert (await client.reply()).status == 200


async def test_http_1_0_gets_a_body_that_ends_with_the_connection(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    client = await house.client(gateway)
    client.post(stream=True, version="1.0")
    reply = await client.reply()
    assert reply.headers["connection"] == "close"
    assert "transfer-encoding" not in reply.headers
    assert violations(reply.body) == []


async def test_errors_of_a_worker_are_passed_on(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(response(b'{"error":{"code":"context_length_exceeded"}}', "400 Bad Request"))

    reply = await house.ask(await house.gateway(await house.worker(answer)))
    assert reply.status == 400
    assert reply.code == "context_length_exceeded"


@pytest.mark.parametrize("status", ["204 No Content", "299 Odd"])
async def test_odd_statuses_are_passed_on(house: House, status: str) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        more = b"" if status[:3] == "204" else b"Content-Length: 2\r\n"
        connection.write(b"HTTP/1.1 %b\r\n%b\r\n%b" % (status.encode(), more, b"ok" if more else b""))

    client = await house.client(await house.gateway(await house.worker(answer)))
    client.post()
    reply = await client.reply(bodiless=status[:3] == "204")
    assert reply.status == int(status[:3])
    assert "transfer-encoding" not in reply.headers


async def test_an_answer_that_ends_with_the_connection(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it")
        connection.transport.close()

    reply = await house.ask(await house.gateway(await house.worker(answer)))
    assert reply.body == b"all of it"
    assert reply.whole


async def test_a_hundred_streams_at_once(house: House) -> None:
    all_in = asyncio.Event()

    async def answer(connection: Connection, got: Got) -> None:
        if len(worker.requests) == 100:
            all_in.set()
        await all_in.wait()
        await by_contract(connection, got)

    worker = await house.worker(answer)
    gateway = await house.gateway(worker)
    replies = await asyncio.gather(*(house.ask(gateway, stream=True) for _ in range(100)))
    assert [violations(reply.body) for reply in replies] == [[]] * 100
    assert len({reply.headers["colonnade-request-id"] for reply in replies}) == 100


async def test_a_client_that_leaves_is_felt_by_the_worker(house: House) -> None:
    started = asyncio.Event()
    connections: list[Connection] = []

    async def answer(connection: Connection, got: Got) -> None:
        connections.append(connection)
        connection.write(STREAM_HEAD + chunked(b"data: 1\n\n"))
        started.set()

    gateway = await house.gateway(await house.worker(answer))
    client = await house.client(gateway)
    client.post(stream=True)
    await client.head()
    client.leave()
    async with asyncio.timeout(5):
        await connections[0].lost
    await until(lambda: gateway.plane.stats.left == 1)
    assert gateway.plane.table.targets["w0"].in_flight == 0


async def test_a_client_that_leaves_before_its_answer_begins(house: House) -> None:
    connections: list[Connection] = []

    async def answer(connection: Connection, got: Got) -> None:
        connections.append(connection)

    gateway = await house.gateway(await house.worker(answer))
    client = await house.client(gateway)
    client.post()
    await until(lambda: connections)
    client.leave()
    async with asyncio.timeout(5):
        await connections[0].lost
    assert gateway.plane.stats.left == 1
    assert gateway.plane.table.targets["w0"].in_flight == 0


async def test_a_reader_that_stops_holds_little(house: House) -> None:
    """The worker is asked to wait; what the gateway holds stays bounded; nothing is lost when reading goes on."""
    block = b"data: " + b"x" * 8000 + b"\n\n"
    total = 4000  # 32 MB

    async def answer(connection: Connection, got: Got) -> None:
        connection.write(STREAM_HEAD)
        for _ in range(total):
            if not await connection.send(chunked(block)):
                return
        connection.write(b"0\r\n\r\n")

    worker = await house.worker(answer)
    gateway = await house.gateway(worker)
    client = await house.client(gateway)
    client.post(stream=True)
    await until(lambda: gateway.plane.clients and any(side.paused for side in gateway.plane.clients))  # pyright: ignore[reportAttributeAccessIssue]
    await until(lambda: any(not connection.writable.is_set() for connection in worker.connections))
    (side,) = gateway.plane.clients
    assert side._transport.get_write_buffer_size() < 2 << 20  # pyright: ignore[reportAttributeAccessIssue]
    reply = await client.reply()
    assert len(reply.body) == total * len(block)


async def test_a_reader_that_never_reads_is_cut_off(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(STREAM_HEAD)
        while await connection.send(chunked(b"data: " + b"x" * 60000 + b"\n\n")):
            await asyncio.sleep(0)

    worker = await house.worker(answer)
    gateway = await house.gateway(worker, limits=Limits(unsent=0.1, tick=0.02))
    client = await house.client(gateway)
    client.post(stream=True)
    await until(lambda: worker.requests)
    await until(lambda: not gateway.plane.clients)
    assert gateway.plane.stats.left == 1


async def test_the_openai_client(house: House) -> None:
    gateway = await house.gateway(await house.worker())
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, _strict_response_validation=True
    ) as client:
        stream = await client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == "one two three four five six"
        answer = await client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])
        assert answer.choices[0].message.content == text
        assert [model.id async for model in client.models.list()] == ["tiny"]
        assert (await client.models.retrieve("tiny")).id == "tiny"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="huge", messages=[])
        assert refused.value.code == "model_not_found"


@pytest.mark.parametrize("sent", ["", "00-aa-bb-01", f"00-{'0' * 32}-{'b' * 16}-01", f"ff-{'a' * 32}-{'b' * 16}-01"])
async def test_a_trace_is_begun_where_the_client_has_none(house: House, sent: str) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    for _ in range(2):
        await house.ask(gateway, headers={"Traceparent": sent, "Tracestate": "a=1"})
    made = [got.headers["traceparent"] for got in worker.requests]
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", each) for each in made)
    assert made[0] != made[1]
    assert not any("tracestate" in got.headers for got in worker.requests)
