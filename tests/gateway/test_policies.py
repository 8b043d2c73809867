"""The rules by which a replica is chosen, and the rates that they reckon with."""

from __future__ import annotations

from math import e

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.ask import NOTHING, Ask
from colonnade.gateway.policies import POLICIES
from colonnade.gateway.policies.cost import EVEN, LEAST, REUSE, SPAN, Cost, cost
from colonnade.gateway.policies.round_robin import RoundRobin
from colonnade.gateway.policies.session import Session
from colonnade.gateway.rates import LONGEST, PREFILL, STEP, Rates
from colonnade.gateway.routing import RECENT, Table
from colonnade.gateway.target import Target
from colonnade.wire.errors import BadSetting
from colonnade.wire.messages import Load, Marked
from colonnade.wire.prefix import chain
from colonnade.wire.resolve import resolve
from colonnade.wire.routes import Route, Routes


def targets(count: int) -> list[Target]:
    return [Target(Route(f"r-{n}", f"e{n}", f"http://r{n}", "m")) for n in range(count)]


def test_every_policy_has_its_setting() -> None:
    for name in POLICIES:
        assert resolve({"gateway.policy": name}, {}, "", "").gateway.policy == name
    with pytest.raises(BadSetting):
        resolve({"gateway.policy": "best"}, {}, "", "")
    assert all(policy.__module__.rpartition(".")[2] == name for name, policy in POLICIES.items())


@given(
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000), st.integers(0, 30)), min_size=2, max_size=8),
    st.floats(0, 1, exclude_max=True),
)
def test_cost_takes_one_of_the_near_cheapest(states: list[tuple[int, int, int]], noise: float) -> None:
    ask = Ask(tokens=9000.0, answer=50.0)
    there = targets(len(states))
    ask.cached = {target.route.epoch: float(cached) for target, (cached, _, _) in zip(there, states, strict=True)}
    for target, (_, backlog, running) in zip(there, states, strict=True):
        target.backlog, target.load = float(backlog), Load(running=running)
    costs = [cost(ask, target) for target in there]
    chosen = Cost().pick(ask, there, noise)
    assert cost(ask, chosen) <= min(costs) * (1 + SPAN) + LEAST + 1e-12


def test_each_part_of_the_cost_counts() -> None:
    ask = Ask(tokens=4000.0, answer=100.0)
    (target,) = targets(1)
    assert cost(ask, target) == pytest.approx(REUSE * 4000 / PREFILL)
    ask.cached = {"e0": 3000.0}
    own = REUSE * 1000
    assert cost(ask, target) == pytest.approx(own / PREFILL)
    target.backlog = 500.0
    target.load = Load(prefill=400)
    assert cost(ask, target) == pytest.approx((own + 500) / PREFILL), "the larger of what we sent and of what it says"
    target.load = Load(prefill=700, running=10)
    target.recent = 100.0
    target.rates.round_trip, target.rates.price = 0.07, 0.5
    slower = 100 * target.rates.slope * 10
    assert slower > 0
    assert cost(ask, target) == pytest.approx((own + 700 + EVEN * 100) / PREFILL + slower + 0.57)


def test_near_equals_share_by_chance() -> None:
    there = targets(4)
    chosen = {Cost().pick(Ask(tokens=100.0), there, n / 8).route.epoch for n in range(8)}
    assert chosen == {"e0", "e1", "e2", "e3"}
    assert Cost().pick(NOTHING, there, 1.0) is there[-1], "rounding leaves nobody out"


def test_round_robin() -> None:
    table = Table(RoundRobin())
    table.update(Routes(1, tuple(target.route for target in targets(3))))
    chosen = [table.choose("m", 0.0).route.epoch for _ in range(6)]
    assert chosen == ["e0", "e1", "e2"] * 2
    assert not table.asks("m"), "it does not look at requests: nobody hashes them"


@given(st.binary(min_size=1, max_size=16), st.integers(2, 6), st.integers(0, 5))
def test_sessions_move_only_with_their_replica(session: bytes, count: int, gone: int) -> None:
    there = targets(count)
    home = Session().pick(Ask(session=session), there, 0.5)
    rest = [target for index, target in enumerate(there) if index != gone]
    if len(rest) > 1 and home in rest:
        assert Session().pick(Ask(session=session), rest, 0.1) is home
    there[0].in_flight = 1
    assert Session().pick(NOTHING, there, 0.5) is not there[0]


def test_a_table_sends_a_conversation_where_it_is_held() -> None:
    table = Table(Cost())
    table.update(Routes(1, tuple(target.route for target in targets(3))))
    links = chain("acme", "m", b"", [b"x" * 4000])
    table.index.apply("e1", [Marked(links[-1].digest, 1000)])
    assert table.asks("m")
    ask = Ask(links)
    assert table.choose("m", 0.0, ask=ask, noise=0.3).route.epoch == "e1"
    charge = table.charge(table.targets["e1"], ask, 0.0, heard=True)
    assert charge.tokens < 10, "it is nearly all there"
    other = Ask(chain("acme", "m", b"", [b"y" * 4000]))
    first = table.choose("m", 0.0, ask=other, noise=0.9)
    paid = table.charge(first, other, 0.0, heard=True)
    assert paid.tokens > 500
    assert first.backlog == paid.tokens
    like = Ask(other.links)
    table.choose("m", 0.0, ask=like)
    assert like.cached[first.route.epoch] == pytest.approx(like.tokens), "where its like is on its way"
    assert first.recent == paid.tokens
    table.charge(table.targets["e1"], Ask(), RECENT, heard=True)
    assert first.recent == pytest.approx(paid.tokens / e)
    table.settle(paid, RECENT)
    assert first.backlog == 0
    table.answered(first, 10.0)


def test_rates_are_learned() -> None:
    rates = Rates()
    assert rates.prefill == PREFILL
    assert rates.step == pytest.approx(STEP * 1.125)
    for _ in range(500):
        rates.began(20_000, 2.0)
        for running in (1, 8, 16):
            rates.stepped(running, 10, 10 * (0.01 + 0.001 * running))
    assert rates.prefill == pytest.approx(10_000, rel=0.01)
    assert rates.slope == pytest.approx(0.001, rel=0.02)
    assert rates.step == pytest.approx(0.01 + 0.001 * 25 / 3, rel=0.02)
    before = rates.prefill, rates.step
    rates.began(0, 1.0)
    rates.began(5, LONGEST + 1)
    rates.stepped(1, 0, 1.0)
    rates.stepped(1, 5, 0.0)
    assert (rates.prefill, rates.step) == before
    same = Rates()
    for _ in range(5000):
        same.stepped(4, 1, 0.02)
    assert same.slope >= 0
