"""The gateway on a virtual clock: small traces, whole runs."""

from __future__ import annotations

import random
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.simulate.arrival import BLOCK, Arrival
from colonnade.simulate.clock import Clock
from colonnade.simulate.fleet import RULES, Fleet
from colonnade.simulate.lru import Lru, shared
from colonnade.simulate.replica import Speed
from colonnade.simulate.report import rank, result, variation
from colonnade.wire.errors import BadSetting


def conversations(seed: int, count: int, turns: int) -> list[Arrival]:
    """Each turn is two blocks longer than the one before."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        start = chance.uniform(0, 100)
        for turn in range(1, turns + 1):
            blocks = tuple(number * 1000 + block for block in range(4 + 2 * turn))
            at = start + 20 * turn + chance.uniform(0, 5)
            made.append(Arrival(at, len(blocks) * BLOCK - 100, 50, blocks))
    return sorted(made, key=lambda arrival: arrival.at)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_serves_all(rule: str) -> None:
    arrivals = conversations(1, 20, 3)
    runs = [Fleet(rule, 3, 200_000, Speed(), seed=5).run(arrivals) for _ in range(2)]
    assert runs[0] == runs[1], "the same seed, the same run"
    assert {id(each.arrival) for each in runs[0]} == {id(arrival) for arrival in arrivals}
    assert all(each.first > 0 for each in runs[0])
    fleet = Fleet(rule, 3, 200_000, Speed())
    fleet.run(arrivals)
    for target in fleet.table.targets.values():
        assert target.in_flight == target.backlog == target.load.running == 0


def test_the_index_knows_what_the_replicas_hold() -> None:
    fleet = Fleet("cost", 3, 40_000, Speed())
    fleet.run(conversations(2, 30, 4))
    for epoch, replica in fleet.replicas.items():
        assert len(fleet.table.index.held(epoch)) == len(replica.cache) > 0


def test_conversations_stay_where_they_are_cached() -> None:
    arrivals = conversations(3, 40, 4)
    by_rule = {
        rule: result(rule, 4, 400_000, Fleet(rule, 4, 400_000, Speed()).run(arrivals))
        for rule in ("cost", "round_robin")
    }
    assert by_rule["cost"].of_shared > 0.95
    assert by_rule["cost"].hit_rate > 1.5 * by_rule["round_robin"].hit_rate
    assert by_rule["cost"].ttft_p50 < by_rule["round_robin"].ttft_p50


def test_a_rule_that_is_none() -> None:
    with pytest.raises(BadSetting):
        Fleet("best", 1, 1, Speed())


def test_the_clock() -> None:
    clock, seen = Clock(), []
    clock.at(2.0, lambda: seen.append((2, clock.now)))
    clock.at(1.0, lambda: clock.at(0.5, lambda: seen.append((1, clock.now))))
    clock.after(2.0, lambda: seen.append((3, clock.now)))
    clock.run()
    assert seen == [(1, 1.0), (2, 2.0), (3, 2.0)]


@given(st.lists(st.integers(1, 4).map(lambda n: tuple(range(10 * n, 10 * n + n))), max_size=30), st.integers(1, 6))
def test_the_cache_is_bounded_and_forgets_the_oldest(prompts: list[tuple[int, ...]], most: int) -> None:
    cache, model = Lru(most * BLOCK), OrderedDict[int, None]()
    for blocks in prompts:
        new, gone = cache.store(blocks)
        assert [blocks[index] for index in new] == [block for block in blocks if block not in model]
        for block in reversed(blocks):
            model[block] = None
            model.move_to_end(block)
        dropped = [model.popitem(last=False)[0] for _ in range(len(model) - most)]
        assert gone == dropped
        assert len(cache) == len(model) <= most
        assert cache.match(blocks) == (len(blocks) if set(blocks) <= model.keys() else cache.match(blocks))
    assert 0 <= shared(prompts, most * BLOCK) <= 1


def test_figures() -> None:
    assert rank([1.0, 2.0, 3.0], 50) == 2.0
    assert rank([1.0], 1) == 1.0
    served = Fleet("round_robin", 2, 10_000, Speed()).run([Arrival(float(n), 1000, 5) for n in range(4)])
    assert variation(served, 2) == 0.0
    assert served[0].uncached == 1000, "a prompt without blocks shares nothing"
