"""Streams that are late to begin are asked of a second replica, now and then."""

from __future__ import annotations

import asyncio
import random

import pytest
from fake_worker import Answer, Connection, Got, Worker, by_contract, response
from gateway_house import Client, House, until
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.hedging import ENOUGH, SAVED, Hedging, Quantile
from colonnade.gateway.metrics import exposition
from colonnade.gateway.server import Gateway
from colonnade.wire.contract import violations


@pytest.mark.parametrize("level", [0.5, 0.9, 0.98])
def test_a_quantile_is_found(level: float) -> None:
    chance, quantile, over = random.Random(1), Quantile(level), 0
    for number in range(20_000):
        value = chance.lognormvariate(0, 1)
        over += number >= 10_000 and value > quantile.value
        quantile.see(value)
    assert over / 10_000 == pytest.approx(1 - level, abs=0.02)


@given(st.lists(st.floats(0.01, 10), max_size=300), st.sampled_from([0.0, 0.02, 0.5]))
def test_never_more_than_their_share(times: list[float], share: float) -> None:
    hedging, asked = Hedging(share), 0
    for count, seconds in enumerate(times, 1):
        hedging.began("m", seconds)
        if hedging.late("m", 11.0):
            assert count >= ENOUGH
            hedging.spend()
            asked += 1
        assert asked <= share * count + 1e-6
    assert not Hedging(0.02).late("m", 1e9)


def test_what_was_not_needed_is_kept_up_to_a_few() -> None:
    hedging, asked = Hedging(0.02), 0
    for _ in range(10_000):
        hedging.began("m", 1.0)
    assert not hedging.late("m", 0.9)
    while hedging.late("m", 1.1):
        hedging.spend()
        asked += 1
    assert asked == SAVED


class Gate:
    """A worker's answer, held back until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.lost = asyncio.Event()

    async def answer(self, connection: Connection, got: Got) -> None:
        opened = asyncio.ensure_future(self.open.wait())
        await asyncio.wait((opened, connection.lost), return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        if connection.lost.done():
            self.lost.set()
        else:
            await by_contract(connection, got)


async def die(connection: Connection, got: Got) -> None:
    connection.transport.abort()


async def full(connection: Connection, got: Got) -> None:
    connection.write(response(b'{"error":{"code":"overloaded"}}', "503 Service Unavailable"))


async def late_stream(house: House, second: Answer, **headers: str) -> tuple[Gateway, Gate, Worker, Client]:
    """A stream at a replica that holds it back, while a hundred before it began at once; and another replica."""
    gate = Gate()
    gateway = await house.gateway(await house.worker(gate.answer), await house.worker(second))
    for _ in range(100):
        gateway.plane.hedging.began("tiny", 1e-6)
    targets = gateway.plane.table.targets
    targets["w1"].leaving = True
    client = await house.client(gateway)
    client.post(stream=True, headers=headers)
    await until(lambda: house.workers[0].requests)
    targets["w1"].leaving = False
    return gateway, gate, house.workers[1], client


def nothing_is_left(gateway: Gateway) -> None:
    assert [(each.in_flight, each.backlog) for each in gateway.plane.table.targets.values()] == [(0, 0.0)] * 2


async def test_the_second_begins_first(house: House) -> None:
    gateway, gate, second, client = await late_stream(house, by_contract)
    reply = await client.reply()
    assert violations(reply.body) == []
    assert b"w1/" in reply.body
    first, other = (worker.requests[0].headers for worker in house.workers)
    for name in ("colonnade-request-id", "colonnade-seed", "colonnade-created"):
        assert first[name] == other[name]
    async with asyncio.timeout(60):
        await gate.lost.wait()
    assert len(second.requests) == 1
    nothing_is_left(gateway)
    shown = exposition(gateway.plane).decode()
    assert "colonnade_gateway_hedged_total 1.0" in shown
    assert "colonnade_gateway_hedges_won_total 1.0" in shown


async def test_the_first_begins_first_after_all(house: House) -> None:
    other = Gate()
    gateway, gate, second, client = await late_stream(house, other.answer)
    await until(lambda: second.requests)
    gate.open.set()
    reply = await client.reply()
    assert violations(reply.body) == []
    assert b"w0/" in reply.body
    async with asyncio.timeout(60):
        await other.lost.wait()
    assert (gateway.plane.stats.hedged, gateway.plane.stats.hedges_won) == (1, 0)
    nothing_is_left(gateway)


@pytest.mark.parametrize("second", [die, full])
async def test_a_second_that_comes_to_nothing_is_no_loss(house: House, second: Answer) -> None:
    gateway, gate, worker, client = await late_stream(house, second)
    await until(lambda: worker.requests and not gateway.plane.table.targets["w1"].in_flight)
    gate.open.set()
    assert (await client.reply()).status == 200
    assert gateway.plane.stats.retries.total() == 0
    nothing_is_left(gateway)


async def test_one_that_cannot_be_reached_is_no_loss(house: House) -> None:
    gateway, gate, worker, client = await late_stream(house, by_contract)
    worker.kill()
    await until(lambda: gateway.plane.stats.hedged and not gateway.plane.table.targets["w1"].in_flight)
    gate.open.set()
    assert (await client.reply()).status == 200
    nothing_is_left(gateway)


async def test_both_end_with_the_client_or_the_first(house: House) -> None:
    other = Gate()
    gateway, gate, second, client = await late_stream(house, other.answer)
    await until(lambda: second.requests)
    client.leave()
    async with asyncio.timeout(60):
        await asyncio.gather(gate.lost.wait(), other.lost.wait())
    nothing_is_left(gateway)
    assert gateway.plane.stats.hedged == 1


async def test_a_first_that_dies_leaves_the_way_of_any_loss(house: House) -> None:
    other = Gate()
    gateway, _, second, client = await late_stream(house, other.answer)
    await until(lambda: second.requests)
    other.open.set()
    house.workers[0].kill()
    reply = await client.reply()
    assert violations(reply.body) == []
    nothing_is_left(gateway)


async def test_one_that_would_outlive_its_connection_is_not_asked_twice(house: House) -> None:
    gateway, gate, second, client = await late_stream(house, by_contract, **{"Colonnade-Resume": "30"})
    turns = gateway.plane.now() + 0.1
    await until(lambda: gateway.plane.now() > turns)
    assert not second.requests
    gate.open.set()
    assert (await client.reply()).status == 200
    assert gateway.plane.stats.hedged == 0
