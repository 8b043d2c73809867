"""Admission on a virtual clock: one tenant cannot hurt another, and too much work leaves as much done as can be."""

from __future__ import annotations

import random
from math import ceil

import pytest

from colonnade.gateway.fairness import FairQueue, Refusal, Waiting
from colonnade.simulate.arrival import BLOCK, Arrival
from colonnade.simulate.fleet import Fleet, Served
from colonnade.simulate.replica import Speed
from colonnade.simulate.report import rank

SECONDS = 60
LONGEST = 1510
"""Tokens of a request at most."""
ONE_PROMPT = 0.145
"""Seconds to compute a prompt, in the mean."""
CAPACITY = 6.5
"""Requests a second of one replica: 1,000 tokens of prompt in 0.145 s, some of them longer."""


def load(seed: int, rate: float, tenant: str, priority: int = 0) -> list[Arrival]:
    """Poisson arrivals, whose prompts share nothing."""
    chance, at, made = random.Random(f"{seed}/{tenant}"), 0.0, []
    while (at := at + chance.expovariate(rate)) < SECONDS:
        prompt = chance.randint(500, 1500)
        blocks = tuple(chance.getrandbits(60) for _ in range(ceil(prompt / BLOCK)))
        made.append(Arrival(at, prompt, 10, blocks, tenant, priority))
    return made


class Watched(FairQueue):
    """Knows who went while each waited."""

    def __init__(self) -> None:
        super().__init__()
        self.went: list[Waiting] = []
        self.came: dict[Waiting, int] = {}

    def offer(self, item: Waiting, now: float) -> list[Refusal]:
        self.came[item] = len(self.went)
        return super().offer(item, now)

    def next(self, now: float) -> tuple[Waiting | None, list[Refusal]]:
        item, late = super().next(now)
        self.went += [item] if item else []
        return item, late

    def tokens(self, until: int, tenant: str) -> float:
        """Of this tenant, that went while the one that went as number `until` waited, itself among them."""
        went = self.went[self.came[self.went[until]] : until + 1]
        return sum(item.tokens for item in went if item.tenant == tenant)


def run(arrivals: list[Arrival], most: int = 4096, queue: FairQueue | None = None) -> Fleet:
    fleet = Fleet("cost", 2, 100_000, Speed(), queue=FairQueue(most) if queue is None else queue)
    fleet.run(sorted(arrivals, key=lambda arrival: arrival.at))
    return fleet


def p95(served: list[Served], tenant: str) -> float:
    return rank(sorted(each.first for each in served if each.arrival.tenant == tenant), 95)


def beside(times: float, seed: int, queue: FairQueue | None = None) -> list[Served]:
    """Four tenants that ask for half of their share, and one that asks for so many times its own."""
    share = 2 * CAPACITY / 5
    others = [arrival for tenant in "abcd" for arrival in load(seed, share / 2, tenant)]
    return run(others + load(seed, times * share, "greedy"), queue=queue).served


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_others_feel_of_one_that_asks_too_much(seed: int) -> None:
    """They still wait for the prompt that is being computed, and that is nearly all (see LOG.md)."""
    fair, greedy = (
        rank(sorted(each.first for each in beside(times, seed) if each.arrival.tenant != "greedy"), 95)
        for times in (1, 10)
    )
    assert greedy <= fair + ONE_PROMPT


def test_one_tenant_at_ten_times_its_share() -> None:
    """What the queue promises is service."""
    queue = Watched()
    served = beside(10, 1, queue)
    for number, item in enumerate(queue.went):
        theirs = queue.tokens(number, "greedy")
        assert item.tenant == "greedy" or theirs <= queue.tokens(number, item.tenant) + 2 * LONGEST
    assert p95(served, "greedy") > 10 * max(p95(served, tenant) for tenant in "abcd"), "it is the one that waits"


def test_overload_at_three_times_capacity() -> None:
    important = load(2, CAPACITY / 4, "vip", priority=1)
    rest = load(2, 2 * CAPACITY, "all")
    peak = run(rest + important, most=64)
    over = run(load(3, 6 * CAPACITY, "all") + important, most=64)
    done = [len([each for each in fleet.served if each.arrival.at + each.first < SECONDS]) for fleet in (peak, over)]
    assert done[1] >= 0.9 * done[0], "goodput"
    assert {arrival.tenant for arrival in over.refused} == {"all"}, "the lowest is shed first"
    assert len(over.served) + len(over.refused) == len(load(3, 6 * CAPACITY, "all")) + len(important)
    assert p95(over.served, "vip") <= p95(peak.served, "vip") + 0.1
