"""Admission on a virtual clock: one tenant cannot hurt another, and too much work leaves as much done as can be."""

from __future__ import annotations

import random

from colonnade.gateway.fairness import FairQueue
from colonnade.simulate.arrival import Arrival
from colonnade.simulate.fleet import Fleet, Served
from colonnade.simulate.replica import Speed
from colonnade.simulate.report import rank

SECONDS = 60
ROUND = 1.0
"""Seconds: what fills a replica's four slots is not taken back; with the longest prompts it is less than this."""
CAPACITY = 6.5
"""Requests a second of one replica: 1,000 tokens of prompt in 0.145 s, some of them longer."""


def load(seed: int, rate: float, tenant: str, priority: int = 0) -> list[Arrival]:
    """Poisson arrivals."""
    chance, at, made = random.Random(f"{seed}/{tenant}"), 0.0, []
    while (at := at + chance.expovariate(rate)) < SECONDS:
        made.append(Arrival(at, chance.randint(500, 1500), 10, (), tenant, priority))
    return made


def run(arrivals: list[Arrival], most: int = 4096) -> Fleet:
    fleet = Fleet("cost", 2, 100_000, Speed(), queue=FairQueue(most))
    fleet.run(sorted(arrivals, key=lambda arrival: arrival.at))
    return fleet


def p95(served: list[Served], tenant: str) -> float:
    return rank(sorted(each.first for each in served if each.arrival.tenant == tenant), 95)


def test_one_tenant_at_ten_times_its_share() -> None:
    share = 2 * CAPACITY / 5
    others = [arrival for tenant in "abcd" for arrival in load(1, share / 2, tenant)]
    fair = run(others + load(1, share, "greedy")).served
    greedy = run(others + load(1, 10 * share, "greedy")).served
    before, after = (max(p95(served, tenant) for tenant in "abcd") for served in (fair, greedy))
    assert after <= before + ROUND, "no longer than what was under way when it came"
    assert p95(greedy, "greedy") > 10 * after, "it is the one that waits"


def test_overload_at_three_times_capacity() -> None:
    important = load(2, CAPACITY / 4, "vip", priority=1)
    rest = load(2, 2 * CAPACITY, "all")
    peak = run(rest + important, most=64)
    over = run(load(3, 6 * CAPACITY, "all") + important, most=64)
    done = [len([each for each in fleet.served if each.arrival.at + each.first < SECONDS]) for fleet in (peak, over)]
    assert done[1] >= 0.9 * done[0], "goodput"
    assert {arrival.tenant for arrival in over.refused} == {"all"}, "the lowest is shed first"
    assert len(over.served) + len(over.refused) == len(load(3, 6 * CAPACITY, "all")) + len(important)
    assert p95(over.served, "vip") <= p95(peak.served, "vip") + 0.3
