"""Replicas that refuse, die, stall or talk nonsense; a control plane that is away; a gateway that leaves."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from fake_worker import STREAM_HEAD, Connection, Got, by_contract, chunked, response
from gateway_house import KEY, House, post_bytes, record, until

from colonnade.gateway.plane import Limits
from colonnade.wire.contract import is_error
from colonnade.wire.routes import Route, Routes
from colonnade.wire.settings import GatewaySettings
from colonnade.wire.stream import EventReader


async def first_block_then_wait(connection: Connection, got: Got) -> None:
    connection.write(STREAM_HEAD + chunked(b'id: w0/1\ndata: {"choices":[]}\n\ndata: {"half'))
    await connection.lost


async def die(connection: Connection, got: Got) -> None:
    connection.transport.abort()


async def full(connection: Connection, got: Got) -> None:
    connection.write(response(b'{"error":{"code":"overloaded"}}', "503 Service Unavailable"))


async def say_nothing(connection: Connection, got: Got) -> None:
    await connection.lost


async def test_a_worker_killed_mid_stream_leaves_an_error_event(house: House) -> None:
    worker = await house.worker(first_block_then_wait)
    gateway = await house.gateway(worker, await house.worker())
    worker_1 = house.workers[1]
    client = await house.client(gateway)
    gateway.plane.table.targets["w1"].in_flight += 5  # so that the first one is chosen
    client.post(stream=True)
    await client.head()
    assert await client.chunk() == b'id: w0/1\ndata: {"choices":[]}\n\n'
    worker.kill()
    (last,) = EventReader().feed(await client.chunk())
    assert is_error(last)
    assert '"code":"replica_lost"' in last.data
    assert '"retryable":true' in last.data
    assert await client.chunk() == b""
    assert await client.ended()
    assert not worker_1.requests, "what was streamed in part is not tried again"


async def test_a_refused_connection_is_tried_elsewhere(house: House) -> None:
    dead, alive = await house.worker(), await house.worker()
    dead.kill()
    gateway = await house.gateway(dead, alive)
    replies = [await house.ask(gateway, stream=number % 2) for number in range(6)]
    assert {reply.status for reply in replies} == {200}
    assert gateway.plane.stats.retries["tiny"] == 1, "it was left out after the first time"


async def test_a_host_that_is_none_is_a_502(house: House) -> None:
    routes = (Route("tiny-0", "w0", f"http://{'x' * 70}.example:1", "tiny"),)
    gateway = await house.gateway()
    house.write(Routes(9, routes, (record(),), "00" * 32))
    gateway.reload()
    assert (await house.ask(gateway)).code == "replica_lost"


async def test_a_refused_connection_without_another_replica_is_a_502(house: House) -> None:
    dead = await house.worker()
    dead.kill()
    gateway = await house.gateway(dead)
    reply = await house.ask(gateway)
    assert (reply.status, reply.code) == (502, "replica_lost")
    assert reply.json()["error"]["retryable"] is True
    assert reply.headers["retry-after"] == "1"
    again = await house.ask(gateway)
    assert (again.status, again.code) == (503, "no_replica")


async def test_a_replica_that_comes_back_is_probed_by_one_request(house: House) -> None:
    alive = asyncio.Event()

    async def answer(connection: Connection, got: Got) -> None:
        await alive.wait()
        await by_contract(connection, got)

    worker = await house.worker(answer)
    gateway = await house.gateway(worker)
    target = gateway.plane.table.targets["w0"]
    gateway.plane.table.unreachable(target, gateway.plane.now() - 2)
    first = await house.client(gateway)
    first.post()
    await until(lambda: worker.requests)
    assert (await house.ask(gateway)).code == "no_replica"
    alive.set()
    assert (await first.reply()).status == 200
    assert (await house.ask(gateway)).status == 200


async def test_a_probe_whose_client_leaves_lets_another_try(house: House) -> None:
    worker = await house.worker(say_nothing)
    gateway = await house.gateway(worker)
    gateway.plane.table.unreachable(gateway.plane.table.targets["w0"], gateway.plane.now() - 2)
    client = await house.client(gateway)
    client.post()
    await until(lambda: worker.requests)
    client.leave()
    worker.answer = by_contract
    await until(lambda: gateway.plane.stats.left)
    assert (await house.ask(gateway)).status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_worker_that_dies_before_a_byte_is_tried_elsewhere(house: House, stream: bool) -> None:
    gateway = await house.gateway(await house.worker(die), await house.worker())
    replies = [await house.ask(gateway, stream=stream) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]


async def test_a_head_without_an_event_is_not_yet_an_answer(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(STREAM_HEAD + chunked(b": tokens 0 1\n"))
        await asyncio.sleep(0)
        connection.transport.abort()

    gateway = await house.gateway(await house.worker(answer), await house.worker())
    replies = [await house.ask(gateway, stream=True) for _ in range(2)]
    assert [reply.body.endswith(b"data: [DONE]\n\n") for reply in replies] == [True, True]


async def test_three_losses_and_no_more(house: House) -> None:
    workers = [await house.worker(die) for _ in range(4)]
    gateway = await house.gateway(*workers)
    reply = await house.ask(gateway)
    assert (reply.status, reply.code) == (502, "replica_lost")
    assert sum(len(worker.requests) for worker in workers) == 3


async def test_retries_have_a_budget(house: House) -> None:
    gateway = await house.gateway(await house.worker(full), await house.worker(full))
    codes = Counter([(await house.ask(gateway)).code for _ in range(40)])
    assert codes == {"overloaded": 40}
    assert 20 <= gateway.plane.stats.retries["tiny"] <= 26


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable"])
async def test_a_replica_that_is_full_sends_the_request_elsewhere(house: House, status: str) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(response(b'{"error":{"code":"overloaded"}}', status))

    gateway = await house.gateway(await house.worker(answer), await house.worker())
    assert [(await house.ask(gateway)).status for _ in range(2)] == [200, 200]
    alone = await house.gateway(house.workers[0])
    assert (await house.ask(alone)).code == "overloaded"


async def test_a_kept_connection_that_died_costs_nothing(house: House) -> None:
    """The replica closes an idle connection in the moment that a request is written to it."""
    worker = await house.worker()
    gateway = await house.gateway(worker)
    assert (await house.ask(gateway)).status == 200
    worker.answer = die

    async def once(connection: Connection, got: Got) -> None:
        worker.answer = by_contract
        connection.transport.abort()

    worker.answer = once
    assert (await house.ask(gateway)).status == 200
    assert gateway.plane.stats.retries.total() == 0


async def test_a_kept_connection_that_died_with_its_replica(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker, await house.worker())
    table = gateway.plane.table.targets
    table["w1"].in_flight += 1
    assert (await house.ask(gateway)).status == 200

    async def end(connection: Connection, got: Got) -> None:
        worker.kill()

    worker.answer = end
    assert (await house.ask(gateway)).status == 200
    assert table["w0"].ejected_until > 0


async def test_half_an_answer_that_was_begun_is_seen_to_be_half(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf")
        await asyncio.sleep(0)
        connection.transport.close()

    worker = await house.worker(answer)
    assert (await house.ask(await house.gateway(worker))).code == "replica_lost", "it is held until it is whole"
    limits = Limits(whole=3, tick=0.02)
    client = await house.client(await house.gateway(worker, limits=limits))
    client.post()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.reply()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine",
    ],
)
async def test_nonsense_is_a_lost_replica(house: House, nonsense: bytes) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(nonsense)

    reply = await house.ask(await house.gateway(await house.worker(answer)))
    assert (reply.status, reply.code) == (502, "replica_lost")


async def test_bytes_that_nobody_asked_for_end_a_connection(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    assert (await house.ask(gateway)).status == 200
    (connection,) = worker.connections
    connection.write(response(b"more"))
    await until(lambda: not worker.connections)
    assert (await house.ask(gateway)).status == 200


async def test_a_silent_stream_is_a_lost_replica(house: House) -> None:
    settings = GatewaySettings(port=0, silence_timeout=0.1, shutdown_timeout=0.1, hold_timeout=0)
    gateway = await house.gateway(await house.worker(say_nothing), settings=settings)
    reply = await house.ask(gateway, stream=True)
    assert (reply.status, reply.code) == (502, "replica_lost")
    halted = await house.gateway(await house.worker(first_block_then_wait), settings=settings)
    reply = await house.ask(halted, stream=True)
    assert b"replica_lost" in reply.body


async def test_an_answer_has_its_time(house: House) -> None:
    gateway = await house.gateway(await house.worker(say_nothing), limits=Limits(answer=0.1, tick=0.02))
    reply = await house.ask(gateway)
    assert (reply.status, reply.code) == (504, "deadline_exceeded")


async def test_a_model_without_replicas_is_503_and_an_unknown_one_400(house: House) -> None:
    gateway = await house.gateway(models=("tiny",))
    waiting = await house.ask(gateway)
    assert (waiting.status, waiting.code) == (503, "no_replica")
    assert waiting.headers["retry-after"] == "1"
    unknown = await house.ask(gateway, body={"model": "huge"})
    assert (unknown.status, unknown.code) == (400, "model_not_found")
    assert unknown.json()["error"]["hint"] == "deployed: tiny"


async def test_a_replaced_replica_is_forgotten(house: House) -> None:
    """Requests in flight at the old one end there; new ones go to the new one."""
    go = asyncio.Event()

    async def slow(connection: Connection, got: Got) -> None:
        await go.wait()
        await by_contract(connection, got)

    old = await house.worker(slow)
    gateway = await house.gateway(old)
    client = await house.client(gateway)
    client.post(stream=True)
    await until(lambda: old.requests)
    new = await house.worker()
    house.write(house.routes(new))
    gateway.reload()
    assert set(gateway.plane.pools) == {"w1"}
    assert (await house.ask(gateway)).status == 200
    assert len(new.requests) == 1
    go.set()
    assert (await client.reply()).body.endswith(b"[DONE]\n\n")
    await until(lambda: not old.connections)


async def test_an_epoch_that_moves_is_another_life(house: House) -> None:
    worker, other = await house.worker(), await house.worker()
    gateway = await house.gateway(worker)
    assert (await house.ask(gateway)).status == 200
    house.write(Routes(9, (Route("tiny-0", "w0", other.url, "tiny"),), house.routes(worker).keys, "00" * 32))
    gateway.reload()
    assert (await house.ask(gateway)).status == 200
    assert (len(worker.requests), len(other.requests)) == (1, 1)
    await until(lambda: not worker.connections)


async def test_a_wrong_routes_file_changes_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    gateway = await house.gateway(await house.worker())
    for wrong in ("{", '{"revision": 9, "pepper": "zz"}', '{"revision": 9, "routes": [{"epoch": 1}]}'):
        house.file.write_text(wrong)
        gateway.reload()
    house.write(Routes(revision=9, routes=(Route("x", "e9", "ftp://nowhere", "tiny"),)))
    gateway.reload()
    house.file.unlink()
    gateway.reload()
    assert len(caplog.records) == 5
    assert (await house.ask(gateway)).status == 200


async def test_a_stream_that_goes_on_goes_to_its_own_replica(house: House) -> None:
    first, second = await house.worker(), await house.worker()
    gateway = await house.gateway(first, second)
    for _ in range(4):
        await house.ask(gateway, stream=True, headers={"Last-Event-ID": "w1/3"})
    assert (len(first.requests), len(second.requests)) == (0, 4)
    assert second.requests[0].headers["last-event-id"] == "w1/3"
    await house.ask(gateway, stream=True, headers={"Last-Event-ID": "gone/3"})
    assert len(first.requests) + len(second.requests) == 5, "whose it was is gone: any may take it"


async def test_a_resumable_stream_is_let_go_like_any_other(house: House) -> None:
    worker = await house.worker(first_block_then_wait)
    gateway = await house.gateway(worker)
    client = await house.client(gateway)
    client.post(stream=True, headers={"Colonnade-Resume": "30"})
    await client.head()
    client.leave()
    await until(lambda: not worker.connections)
    assert gateway.plane.stats.left == 1
    assert gateway.plane.table.targets["w0"].in_flight == 0


async def test_leaving_lets_streams_end(house: House) -> None:
    go = asyncio.Event()

    async def slow(connection: Connection, got: Got) -> None:
        connection.write(STREAM_HEAD + chunked(b"data: 1\n\n"))
        await go.wait()
        connection.write(chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    gateway = await house.gateway(await house.worker(slow), settings=GatewaySettings(port=0, shutdown_timeout=5))
    busy, idle = await house.client(gateway), await house.client(gateway)
    busy.post(stream=True)
    await busy.head()
    idle.get("/ready")
    assert (await idle.reply()).status == 200
    stopping = asyncio.create_task(gateway.stop())
    assert await idle.ended()
    with pytest.raises(OSError):  # noqa: PT011
        await house.client(gateway)
    go.set()
    assert await busy.chunk() == b"data: 1\n\n"
    assert await busy.chunk() == b"data: [DONE]\n\n"
    assert await busy.chunk() == b""
    assert await busy.ended()
    await stopping
    house.gateways.clear()


async def test_leaving_has_its_time(house: House) -> None:
    async def by_kind(connection: Connection, got: Got) -> None:
        await (first_block_then_wait if got.json().get("stream") else say_nothing)(connection, got)

    gateway = await house.gateway(await house.worker(by_kind))
    stream, silent = await house.client(gateway), await house.client(gateway)
    stream.post(stream=True)
    await stream.head()
    silent.post()
    await until(lambda: len(house.workers[0].requests) == 2)
    await gateway.stop()
    house.gateways.clear()
    assert (await silent.reply()).code == "draining"
    await stream.chunk()
    assert b'"code":"draining"' in await stream.chunk()


async def test_requests_of_many_tenants_stay_theirs(house: House) -> None:
    keys = {f"ck-{name}": record(f"ck-{name}", name) for name in ("a", "b", "c")}
    worker = await house.worker()
    gateway = await house.gateway(worker, keys=tuple(keys.values()))
    client = await house.client(gateway)
    client.write(b"".join(post_bytes(key=key) for key in keys) + post_bytes(key=KEY))
    assert [(await client.reply()).status for _ in range(4)] == [200, 200, 200, 401]
    assert [got.headers["colonnade-tenant"] for got in worker.requests] == ["a", "b", "c"]
