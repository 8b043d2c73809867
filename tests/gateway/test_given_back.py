"""However a request ends, what was reserved for it is given back: its key's limits, slots, its place in the queue."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest
from fake_worker import STREAM_HEAD, Connection, Got, by_contract, chunked, response
from gateway_house import PEPPER, Client, House, until

from colonnade.gateway.plane import Limits
from colonnade.gateway.quota import Bucket
from colonnade.gateway.server import Gateway
from colonnade.wire.routes import Allowance, KeyRecord
from colonnade.wire.settings import GatewaySettings

LIMIT = 12_000
KEY = "ck-a"
MOST = 2_000
ALLOWED = Allowance(requests_per_minute=600, tokens_per_minute=LIMIT)
RECORD = KeyRecord("a", hmac.digest(PEPPER, KEY.encode(), "sha256").hex(), "a", allowance=ALLOWED)
FIRST = b": usage prompt=30 cached=0 completion=0\n: tokens 0 7 8\nid: w0/2.\ndata: {}\n\n"


async def silent(connection: Connection, got: Got) -> None:
    await connection.lost


async def begin(connection: Connection, got: Got) -> None:
    connection.write(STREAM_HEAD + chunked(FIRST))
    await connection.lost


async def die(connection: Connection, got: Got) -> None:
    connection.transport.abort()


async def begin_and_die(connection: Connection, got: Got) -> None:
    connection.write(STREAM_HEAD + chunked(FIRST))
    connection.transport.close()


async def refuse(connection: Connection, got: Got) -> None:
    connection.write(response(b'{"error":{"code":"invalid_request"}}', "400 Bad Request"))


async def full(connection: Connection, got: Got) -> None:
    connection.write(response(b'{"error":{"code":"overloaded"}}', "503 Service Unavailable"))


async def leaving(connection: Connection, got: Got) -> None:
    connection.write(response(b'{"error":{"code":"not_ready"}}', "503 Service Unavailable"))


async def flood(connection: Connection, got: Got) -> None:
    connection.write(STREAM_HEAD + chunked(b"data: " + b"x" * 9000))
    await connection.lost


class Scene:
    """A gateway with one slot, and a key that has used half of what it may."""

    def __init__(self, house: House, gateway: Gateway) -> None:
        self.house = house
        self.gateway = gateway
        self.plane = gateway.plane
        quota = gateway.plane.quotas.of(RECORD)
        assert quota is not None
        self._buckets: tuple[Bucket, Bucket] = (quota._requests, quota._tokens)
        self._at = self.plane.now()
        for bucket in self._buckets:
            bucket.take((bucket.a_minute or 0) / 2, self._at)

    def taken(self) -> list[float]:
        """Requests and tokens, whatever came back by time."""
        now = self.plane.now()
        for bucket in self._buckets:
            bucket.take(0, now)
        seconds = now - self._at
        rates = [(bucket.a_minute or 0) / 60 for bucket in self._buckets]
        return [30 * r + seconds * r - b._level for r, b in zip(rates, self._buckets, strict=True)]

    async def send(self, *, stream: bool = True, timeout: str = "") -> Client:
        client = await self.house.client(self.gateway)
        client.post(key=KEY, stream=stream, max_tokens=MOST, headers={"Colonnade-Timeout": timeout})
        return client

    async def ask(self, *, stream: bool = True, timeout: str = "") -> int:
        return (await (await self.send(stream=stream, timeout=timeout)).reply()).status

    async def gone(self, client: Client) -> None:
        client.leave()
        await until(lambda: self.plane.stats.left)

    async def waiting(self) -> Client:
        """A request of the key that waits for a slot which another has."""
        for target in self.plane.table.targets.values():
            target.in_flight += 1
        client = await self.send()
        await until(lambda: len(self.plane.lobby))
        self.plane.seek()
        assert len(self.plane.lobby), "a replica can be reached: it waits for its slot, not for the replica"
        return client

    def free(self) -> None:
        """The slot that the other has; nobody is told."""
        for target in self.plane.table.targets.values():
            target.in_flight -= 1

    def nothing_is_left(self) -> None:
        for target in self.plane.table.targets.values():
            assert (target.in_flight, target.backlog, target.probing) == (0, 0.0, False)
        assert not self.plane.held
        assert not len(self.plane.lobby)
        for queue in self.plane.lobby.queues().values():
            assert (len(queue), queue.bytes) == (0, 0)
            assert all(abs(guessed) < 1e-6 for guessed in queue._guessed.values())


async def it_is_answered(scene: Scene) -> None:
    assert await scene.ask() == 200


async def it_is_answered_at_once(scene: Scene) -> None:
    assert await scene.ask(stream=False) == 200


async def it_waited_and_is_answered(scene: Scene) -> None:
    client = await scene.waiting()
    scene.free()
    scene.plane.lobby.wake()
    assert (await client.reply()).status == 200


async def the_client_leaves_while_it_waits(scene: Scene) -> None:
    await scene.gone(await scene.waiting())
    scene.free()


async def its_deadline_passes_while_it_waits(scene: Scene) -> None:
    for target in scene.plane.table.targets.values():
        target.in_flight += 1
    assert await scene.ask(timeout="0.05") == 504
    scene.free()


async def it_is_shed(scene: Scene) -> None:
    client = await scene.waiting()
    assert await scene.ask() == 503
    await scene.gone(client)
    scene.free()


async def its_model_goes_while_it_waits(scene: Scene) -> None:
    client = await scene.waiting()
    scene.free()
    scene.plane.update(msgspec.structs.replace(scene.house.routes(keys=(RECORD,)), models=()))
    reply = await client.reply()
    assert reply.status in (400, 503)


async def the_gateway_leaves_while_it_waits(scene: Scene) -> None:
    client = await scene.waiting()
    scene.free()
    (side,) = scene.plane.clients
    side.cut()
    assert (await client.reply()).code == "draining"


async def its_key_has_no_more(scene: Scene) -> None:
    scene._buckets[1].take(LIMIT / 2, scene.plane.now())
    assert await scene.ask() == 429
    scene._buckets[1].take(-LIMIT / 2, scene.plane.now())


async def nobody_can_be_reached(scene: Scene) -> None:
    scene.house.workers[0].kill()
    assert await scene.ask() == 502


async def no_replica_is_open(scene: Scene) -> None:
    (target,) = scene.plane.table.targets.values()
    target.leaving = True
    assert await scene.ask() == 503


async def its_deadline_passes_at_a_replica(scene: Scene) -> None:
    assert await scene.ask(timeout="0.05") == 504


async def it_is_refused(scene: Scene) -> None:
    assert await scene.ask() in (400, 500, 502, 503)


async def its_deadline_passes_while_it_is_held(scene: Scene) -> None:
    scene.plane.settings = replace(scene.plane.settings, hold_timeout=60.0)
    assert await scene.ask(timeout="0.05") == 504


async def the_client_leaves_while_it_is_held(scene: Scene) -> None:
    scene.plane.settings = replace(scene.plane.settings, hold_timeout=60.0)
    client = await scene.send()
    await until(lambda: scene.plane.held)
    await scene.gone(client)


async def the_client_leaves_before_a_byte(scene: Scene) -> None:
    client = await scene.send()
    await until(lambda: scene.house.workers[0].requests)
    await scene.gone(client)


async def the_client_leaves_in_the_middle(scene: Scene) -> None:
    client = await scene.send()
    await client.head()
    await scene.gone(client)


async def it_breaks_off(scene: Scene) -> None:
    client = await scene.send()
    assert b'"error"' in (await client.reply()).body


async def the_gateway_leaves_in_the_middle(scene: Scene) -> None:
    client = await scene.send()
    await client.head()
    (side,) = scene.plane.clients
    side.cut()
    await client.chunk()
    assert b'"draining"' in await client.chunk()


Way = Callable[[Scene], Awaitable[None]]
ANSWERED, TOLD = (1, 9), (1, 32)
PROMPT = (1, 15.5)
NOTHING, SEEN = (0, 0), (1, 0)
"""Requests and tokens that a way costs: an answer's usage, what was told of it, the prompt as reckoned, or none."""


@pytest.mark.parametrize(
    ("way", "worker", "cost"),
    [
        (it_is_answered, by_contract, ANSWERED),
        (it_is_answered_at_once, by_contract, ANSWERED),
        (it_waited_and_is_answered, by_contract, ANSWERED),
        (the_client_leaves_while_it_waits, by_contract, NOTHING),
        (its_deadline_passes_while_it_waits, by_contract, NOTHING),
        (it_is_shed, by_contract, NOTHING),
        (its_model_goes_while_it_waits, by_contract, NOTHING),
        (the_gateway_leaves_while_it_waits, by_contract, NOTHING),
        (its_key_has_no_more, by_contract, NOTHING),
        (nobody_can_be_reached, by_contract, NOTHING),
        (no_replica_is_open, by_contract, NOTHING),
        (its_deadline_passes_at_a_replica, silent, SEEN),
        (it_is_refused, refuse, SEEN),
        (it_is_refused, full, SEEN),
        (it_is_refused, leaving, SEEN),
        (it_is_refused, die, SEEN),
        (it_is_refused, flood, SEEN),
        (its_deadline_passes_while_it_is_held, leaving, SEEN),
        (the_client_leaves_while_it_is_held, leaving, PROMPT),
        (the_client_leaves_before_a_byte, silent, PROMPT),
        (the_client_leaves_in_the_middle, begin, TOLD),
        (it_breaks_off, begin_and_die, TOLD),
        (the_gateway_leaves_in_the_middle, begin, TOLD),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_it_is_given_back_when(
    house: House, way: Way, worker: Callable[[Connection, Got], Awaitable[None]], cost: tuple[int, float]
) -> None:
    settings = GatewaySettings(port=0, shutdown_timeout=0.2, hold_timeout=0.0, replica_slots=1, queue_limit=1)
    limits = Limits(tick=0.02, event=4096)
    gateway = await house.gateway(await house.worker(worker), keys=(RECORD,), settings=settings, limits=limits)
    scene = Scene(house, gateway)
    await way(scene)
    await until(lambda: not any(side.busy for side in gateway.plane.clients))
    requests, tokens = scene.taken()
    assert requests == pytest.approx(cost[0], abs=1e-6)
    assert tokens == pytest.approx(cost[1], abs=1.0)
    scene.nothing_is_left()
