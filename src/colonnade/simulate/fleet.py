"""Requests of a trace through the gateway's own table and policies, over models of replicas."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from colonnade.gateway.ask import Ask
from colonnade.gateway.fairness import FairQueue, Refusal, Waiting
from colonnade.gateway.policies import POLICIES, Policy
from colonnade.gateway.routing import Table
from colonnade.gateway.view import View
from colonnade.simulate.arrival import BLOCK, Arrival
from colonnade.simulate.clock import Clock
from colonnade.simulate.replica import Replica, Speed, Work
from colonnade.simulate.rivals import Dynamo, Sglang
from colonnade.wire.errors import BadSetting
from colonnade.wire.routes import Route, Routes

MODEL = "m"
RULES = (*POLICIES, "sglang", "sglang_first", "dynamo")
"""Ours by the setting's names, and the others'."""


@dataclass(frozen=True, slots=True)
class Served:
    """What became of a request: `replica` by number, times in seconds, tokens that were computed of its prompt."""

    arrival: Arrival
    replica: int
    first: float
    uncached: int


class Fleet:
    """`count` replicas behind one gateway."""

    def __init__(
        self,
        rule: str,
        count: int,
        cache_tokens: int,
        speed: Speed,
        seed: int = 0,
        *,
        policy: Policy | None = None,
        queue: FairQueue | None = None,
        slots: int = 4,
    ) -> None:
        """With a `queue`, requests wait at the gateway until a replica has fewer than `slots` of them."""
        self.clock = Clock()
        self.table = Table(slots=slots)
        self._decode: dict[str, int] = {}
        self.table.policy = policy or self._policy(rule)
        routes = tuple(Route(f"r-{n}", f"e{n}", f"http://r{n}", MODEL) for n in range(count))
        self.table.update(Routes(1, routes))
        self.replicas = {
            epoch: Replica(self.clock, View(target, self.table.index), speed, cache_tokens)
            for epoch, target in self.table.targets.items()
        }
        self._numbers = {epoch: number for number, epoch in enumerate(self.replicas)}
        self._chance = random.Random(seed)
        self.served: list[Served] = []
        self.refused: list[Arrival] = []
        self._queue = queue
        self._waiting: dict[Waiting, Arrival] = {}

    def _policy(self, rule: str) -> Policy:
        match rule:
            case "sglang":
                return Sglang()
            case "sglang_first":
                return Sglang(32, 1.0001)
            case "dynamo":
                return Dynamo(self.table.index, self._decode)
            case _ if rule in POLICIES:
                return POLICIES[rule]()
            case _:
                raise BadSetting(f"there is no rule {rule!r}", hint=f"accepted: {', '.join(RULES)}")

    def run(self, arrivals: Sequence[Arrival]) -> list[Served]:
        """In the order in which answers began."""
        for arrival in arrivals:
            self.clock.at(arrival.at, partial(self.arrive, arrival))
        self.clock.run()
        return self.served

    def arrive(self, arrival: Arrival) -> None:
        if self._queue is None:
            self.send(arrival)
            return
        item = Waiting(arrival.tenant, arrival.prompt + arrival.output, arrival.prompt * 4, arrival.priority)
        self._waiting[item] = arrival
        self._refuse(self._queue.offer(item, self.clock.now))
        self._pump(self._queue)

    def _pump(self, queue: FairQueue) -> None:
        """Send as many as there is room for."""
        while queue and self.table.free(MODEL, self.clock.now):
            item, late = queue.next(self.clock.now)
            self._refuse(late)
            if item is None:
                return
            self.send(self._waiting.pop(item), partial(self._left, queue, item))

    def _left(self, queue: FairQueue, item: Waiting) -> None:
        queue.settle(item, item.tokens)
        self._pump(queue)

    def _refuse(self, refusals: Sequence[Refusal]) -> None:
        self.refused += [self._waiting.pop(item) for item, _ in refusals]

    def send(self, arrival: Arrival, ended: Callable[[], None] = lambda: None) -> None:
        """To a replica, now."""
        table, now = self.table, self.clock.now
        ask = Ask(arrival.links(), str(arrival.blocks[:8]).encode())
        target = table.choose(MODEL, now, ask=ask, noise=self._chance.random(), late=self._queue is not None)
        epoch = target.route.epoch
        charge = table.charge(target, ask, now, heard=True)
        blocks = -(-arrival.prompt // BLOCK)
        self._decode[epoch] = self._decode.get(epoch, 0) + blocks

        def began(uncached: int) -> None:
            target.rates.began(charge.work, self.clock.now - charge.at)
            table.settle(charge, self.clock.now)
            if self._queue is not None:
                self._pump(self._queue)
            first = self.clock.now - arrival.at
            self.served.append(Served(arrival, self._numbers[epoch], first, uncached))

        def over() -> None:
            table.release(target, probe=False)
            self._decode[epoch] -= blocks
            ended()

        self.replicas[epoch].submit(Work(arrival, began, over))
