"""Limits of keys and the lobby, in a gateway that runs: who is refused, who waits, who goes next, what is counted."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

import msgspec
from fake_worker import Connection, Got, by_contract, response
from gateway_house import KEY, PEPPER, Client, House, until

from colonnade.gateway.metrics import exposition
from colonnade.gateway.plane import Limits
from colonnade.gateway.server import Gateway
from colonnade.wire.routes import Allowance, KeyRecord
from colonnade.wire.settings import GatewaySettings

USED = 9
"""Tokens that a worker says of each answer."""


def key_of(name: str, **allowed: Any) -> KeyRecord:
    digest = hmac.digest(PEPPER, f"ck-{name}".encode(), "sha256").hex()
    return KeyRecord(name, digest, name, allowance=Allowance(**allowed))


class Slow:
    """A worker's answers, held back until `serve` lets one go."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.gates: list[asyncio.Event] = []

    async def answer(self, connection: Connection, got: Got) -> None:
        self.came.append(got.headers["colonnade-tenant"])
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        await by_contract(connection, got)

    async def serve(self, count: int) -> list[str]:
        """Answer one after the other; the tenants in the order in which they came."""
        for number in range(count):
            await until(lambda number=number: len(self.gates) > number)
            self.gates[number].set()
        return self.came


async def open_house(house: House, slow: Slow, *keys: KeyRecord, **settings: Any) -> Gateway:
    chosen = GatewaySettings(port=0, shutdown_timeout=0.2, replica_slots=1, hold_timeout=5.0, **settings)
    worker = await house.worker(slow.answer)
    return await house.gateway(worker, keys=keys, settings=chosen, limits=Limits(tick=0.02))


async def waiting(house: House, gateway: Gateway, *names: str, **fields: Any) -> list[Client]:
    """A request of each, sent in this order."""
    clients: list[Client] = []
    for name in names:
        before = len(gateway.plane.lobby) + sum(t.in_flight for t in gateway.plane.table.targets.values())
        client = await house.client(gateway)
        client.post(key=f"ck-{name}", **fields)
        await until(
            lambda before=before: (
                len(gateway.plane.lobby) + sum(t.in_flight for t in gateway.plane.table.targets.values()) > before
            )
        )
        clients.append(client)
    return clients


async def test_a_key_that_has_asked_for_enough_is_refused(house: House) -> None:
    gateway = await house.gateway(await house.worker(), keys=(key_of("a", requests_per_minute=2), key_of("b")))
    assert [(await house.ask(gateway, key="ck-a")).status for _ in range(2)] == [200, 200]
    refused = await house.ask(gateway, key="ck-a")
    assert (refused.status, refused.code) == (429, "requests_limited")
    assert 29 <= int(refused.headers["retry-after"]) <= 30
    assert (await house.ask(gateway, key="ck-b")).status == 200, "another key"
    assert gateway.plane.stats.limited == {("a", "requests"): 1}
    shown = exposition(gateway.plane).decode()
    assert 'colonnade_gateway_limited_total{key="a",limit="requests"} 1.0' in shown
    assert 'colonnade_gateway_tokens_total{kind="completion",tenant="a"} 12.0' in shown


async def test_limits_change_live_and_what_was_used_stays_used(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker, keys=(key_of("a", requests_per_minute=1),))
    assert (await house.ask(gateway, key="ck-a")).status == 200
    assert (await house.ask(gateway, key="ck-a")).status == 429
    house.write(house.routes(worker, keys=(key_of("a"),)))
    gateway.reload()
    assert (await house.ask(gateway, key="ck-a")).status == 200
    house.write(house.routes(worker, keys=(key_of("a", requests_per_minute=0),)))
    gateway.reload()
    refused = await house.ask(gateway, key="ck-a")
    assert refused.status == 429
    assert "retry-after" not in refused.headers, "it will not do better later"


async def test_tokens_are_reserved_and_settled_by_what_the_answer_says(house: House) -> None:
    gateway = await house.gateway(await house.worker(), keys=(key_of("a", tokens_per_minute=1000),))
    for stream in (True, False):
        assert (await house.ask(gateway, key="ck-a", max_tokens=900, stream=stream)).status == 200
    left = gateway.plane.quotas.of(key_of("a"))
    assert left is not None
    left.reserve(1000 - 2 * USED, gateway.plane.now())
    refused = await house.ask(gateway, key="ck-a", max_tokens=900)
    assert (refused.status, refused.code) == (429, "tokens_limited")


async def test_a_request_that_no_replica_saw_costs_nothing(house: House) -> None:
    gateway = await house.gateway(keys=(key_of("a", requests_per_minute=1, tokens_per_minute=1000),))
    for _ in range(3):
        assert (await house.ask(gateway, key="ck-a", max_tokens=900)).code == "no_replica"


async def test_a_client_that_leaves_pays_for_what_it_got(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        connection.write(head + b": usage prompt=30 cached=0 completion=0\n: tokens 0 7 8\nid: w0/2\ndata: {}\n\n")
        await connection.lost

    gateway = await house.gateway(await house.worker(answer), keys=(key_of("a", tokens_per_minute=1000),))
    client = await house.client(gateway)
    client.post(key="ck-a", stream=True, max_tokens=900)
    await client.head()
    await client.chunk()
    client.leave()
    await until(lambda: gateway.plane.stats.left)
    assert gateway.plane.stats.tokens == {"a": (30, 2)}


async def test_tenants_take_turns_whoever_asks_more(house: House) -> None:
    slow = Slow()
    gateway = await open_house(house, slow, key_of("greedy"), key_of("modest"))
    clients = await waiting(house, gateway, *("greedy",) * 6, "modest", "modest")
    came = await slow.serve(8)
    assert came.index("modest") <= 2, "late, and not last"
    assert came[:5].count("modest") == 2
    assert {(await client.reply()).status for client in clients} == {200}
    assert not len(gateway.plane.lobby)
    assert 'colonnade_gateway_wait_seconds_count{model="tiny"} 7.0' in exposition(gateway.plane).decode()


async def test_weights_and_priorities_of_keys(house: House) -> None:
    slow = Slow()
    keys = (key_of("plain"), key_of("double", weight=2.0), key_of("urgent", priority=9))
    gateway = await open_house(house, slow, *keys)
    await waiting(house, gateway, "plain", *("plain", "double") * 6, "urgent")
    came = await slow.serve(14)
    assert came[1] == "urgent"
    assert came[2:11].count("double") == 6
    (worker,) = house.workers
    assert {got.headers["colonnade-priority"] for got in worker.requests} == {"0", "9"}


async def test_a_full_lobby_sheds_the_least_and_says_when_to_come_back(house: House) -> None:
    slow = Slow()
    gateway = await open_house(house, slow, key_of("low"), key_of("high", priority=1), queue_limit=2)
    running, first, second = await waiting(house, gateway, "low", "low", "low")
    third = await house.ask(gateway, key="ck-low")
    assert (third.status, third.code) == (503, "queue_full")
    assert int(third.headers["retry-after"]) >= 1
    high = await house.client(gateway)
    high.post(key="ck-high")
    assert (await second.reply()).code == "queue_full"
    assert await slow.serve(3) == ["low", "high", "low"]
    assert [(await client.reply()).status for client in (running, high, first)] == [200, 200, 200]


async def test_bodies_that_wait_are_bounded_too(house: House) -> None:
    slow = Slow()
    gateway = await open_house(house, slow, key_of("a"), queue_bytes=3000)
    await waiting(house, gateway, "a", "a")
    refused = await house.ask(gateway, key="ck-a", padding="x" * 3000)
    assert refused.code == "queue_full"


async def test_a_deadline_that_passes_in_the_lobby_and_at_a_replica(house: House) -> None:
    slow = Slow()
    gateway = await open_house(house, slow, key_of("a"))
    (running,) = await waiting(house, gateway, "a")
    late = await house.ask(gateway, key="ck-a", headers={"Colonnade-Timeout": "0.1"})
    assert (late.status, late.code) == (504, "deadline_exceeded")
    await slow.serve(1)
    assert (await running.reply()).status == 200
    late = await house.ask(gateway, key="ck-a", headers={"Colonnade-Timeout": "0.1"})
    assert (late.status, late.code) == (504, "deadline_exceeded")
    (worker,) = house.workers
    await until(lambda: not any(connection.lost.done() is False for connection in worker.connections))
    for wrong in ("0", "-1", "nan", "soon", "1e9"):
        assert (await house.ask(gateway, key="ck-a", headers={"Colonnade-Timeout": wrong})).status == 400


async def test_the_settings_bound_bounds_those_that_say_none(house: House) -> None:
    slow = Slow()
    gateway = await open_house(house, slow, key_of("a"), queue_timeout=0.1)
    await waiting(house, gateway, "a")
    assert (await house.ask(gateway, key="ck-a")).code == "deadline_exceeded"


async def test_clients_that_leave_the_lobby_leave_nothing(house: House) -> None:
    slow = Slow()
    gateway = await open_house(house, slow, key_of("a"))
    running, *others = await waiting(house, gateway, *("a",) * 5)
    for client in others:
        client.leave()
    await until(lambda: not len(gateway.plane.lobby))
    queue = gateway.plane.lobby.queues()["tiny"]
    assert (len(queue), queue.bytes) == (0, 0)
    await slow.serve(1)
    assert (await running.reply()).status == 200
    assert len(house.workers[0].requests) == 1


async def test_what_a_replica_says_it_computes_bounds_what_it_gets(house: House) -> None:
    slow = Slow()
    worker = await house.worker(slow.answer)
    gateway = await house.gateway(worker, keys=(key_of("a"),), settings=GatewaySettings(port=0, shutdown_timeout=0.2))
    target = gateway.plane.table.targets["w0"]
    target.load = msgspec.structs.replace(target.load, slots=8)
    await waiting(house, gateway, *("a",) * 12)
    assert (target.in_flight, len(gateway.plane.lobby)) == (9, 3), "an eighth more than its slots"


async def test_an_answer_without_usage_counts_as_was_reckoned(house: House) -> None:
    async def answer(connection: Connection, got: Got) -> None:
        connection.write(response(b'{"usage":1}'))

    gateway = await house.gateway(await house.worker(answer), keys=(key_of("a", tokens_per_minute=1000),))
    assert (await house.ask(gateway, key="ck-a", max_tokens=600)).status == 200
    assert (await house.ask(gateway, key="ck-a", max_tokens=600)).code == "tokens_limited"
    assert KEY not in exposition(gateway.plane).decode()
