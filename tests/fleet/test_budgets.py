"""Budgets: periods, what is used up, what is refused as a budget, and how a control plane tells of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.fleet.allowance import AllowanceChange
from colonnade.fleet.budgets import Spent, begun, check_budget, limits, periods, renewed
from colonnade.fleet.change import Change
from colonnade.fleet.clusters import price_version
from colonnade.fleet.control import ControlPlane
from colonnade.fleet.sqlite import SqliteStore
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.routes import (
    Allowance,
    Budget,
    ClusterSpec,
    Demands,
    Deployment,
    KeyRecord,
    Observed,
    Offer,
    Period,
    Stretch,
    TokenSum,
)

NOON = datetime(2026, 2, 27, 12, tzinfo=UTC).timestamp()
MONTH_S = 1.5 * 86_400
"""From then to the first of March."""


@given(st.floats(0, 4e9), st.sampled_from(("day", "month")))
def test_periods_lie_end_to_end(now: float, per: Period) -> None:
    first, last = begun(per, now), renewed(per, now)
    assert first <= now < last
    assert begun(per, last) == last
    assert begun(per, last - 1) == first
    at = datetime.fromtimestamp(first, UTC)
    assert (at.hour, at.minute, at.second) == (0, 0, 0)
    assert per == "day" or at.day == 1
    assert last - first == 86_400 or per == "month"
    assert datetime.fromtimestamp(last, UTC).month != at.month or per == "day"


def of_key(budget: Budget | None) -> KeyRecord:
    return KeyRecord("crm", "d", "acme", allowance=Allowance(budget=budget))


@given(st.integers(0, 100), st.integers(0, 100))
def test_it_is_used_up_exactly_when_nothing_is_left(used: int, most: int) -> None:
    spent: dict[Period, Spent] = {"month": Spent({"crm": used}, {}, {})}
    (limit,) = limits([of_key(Budget("closed", tokens=most))], [], spent, NOON)
    assert bool(limit.over) == (used >= most)
    assert (limit.of, limit.name, limit.closed, limit.renewed) == ("key", "crm", True, NOON + MONTH_S)


def test_a_deployment_has_one_of_tokens_or_of_cost() -> None:
    both = [
        Deployment("a", "m", budget=Budget("open", cost=10.0)),
        Deployment("b", "m", budget=Budget("open", tokens=10, per="day")),
        Deployment("c", "m"),
    ]
    assert periods([of_key(None)], both) == {"day", "month"}
    spent: dict[Period, Spent] = {"month": Spent({}, {}, {"a": 12.5}), "day": Spent({}, {"b": 3}, {})}
    cost, tokens = limits([of_key(None)], both, spent, NOON)
    assert (cost.over, cost.told) == ("12.50 of 10 are spent this month", "125% of 10 a month, fails open")
    assert (tokens.over, tokens.told) == ("", "30% of 10 tokens a day, fails open")
    assert limits([], both[:1], {}, NOON)[0].told == "0% of 10 a month, fails open"
    (none,) = limits([of_key(Budget("open", tokens=0))], [], {}, NOON)
    assert (none.over, none.told) == ("0 of 0 tokens are used this month", "100% of 0 tokens a month, fails open")


@pytest.mark.parametrize(
    ("budget", "of"),
    [
        (Budget("open"), "key"),
        (Budget("open", tokens=1, cost=1.0), "deployment"),
        (Budget("open", cost=1.0), "key"),
        (Budget("open", tokens=-1), "key"),
        (Budget("open", cost=float("nan")), "deployment"),
    ],
)
def test_a_budget_that_is_none(budget: Budget, of: str) -> None:
    with pytest.raises(InvalidRequest):
        check_budget(budget, of)


class Time:
    now = NOON


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "state.db")
    yield opened
    await opened.close()


async def test_it_is_used_up_told_of_raised_and_renewed(store: SqliteStore) -> None:
    time = Time()
    plane = await ControlPlane.open(store, clock=lambda: time.now)

    async def look() -> dict[str, str]:
        time.now += 3
        await plane.spend()
        return {each.name: each.over for each in (await plane.routes(-1, 0)).limits}

    assert await look() == {}
    await plane.keys.create("crm", allowance=Allowance(budget=Budget("closed", tokens=100)))
    assert await look() == {"crm": ""}
    hour = int(time.now // 3600)
    await plane.take_demand(Demands("g", (), tokens=(TokenSum(hour, "crm", "desk", 90, 15),)))
    assert await look() == {"crm": "105 of 100 tokens are used this month"}
    (line,) = await plane.used(("key",), 0.0)
    assert line.budget == "105% of 100 tokens a month, fails closed"
    assert [each.budget for each in await plane.used(("key", "deployment"), 0.0)] == [""]
    await plane.keys.limit("crm", AllowanceChange(budget=Budget("closed", tokens=200)))
    assert await look() == {"crm": ""}
    await plane.take_demand(Demands("g", (), tokens=(TokenSum(hour, "crm", "desk", 190, 15),)))
    assert await look() == {"crm": "205 of 200 tokens are used this month"}
    time.now += MONTH_S
    assert await look() == {"crm": ""}
    await plane.keys.limit("crm", AllowanceChange(budget=None))
    assert await look() == {}
    told = [(each.event.kind, each.event.reason) for each in await plane.events(0, 20) if "budget" in each.event.kind]
    assert told == [
        ("over budget", "105 of 100 tokens are used this month"),
        ("within budget", "52% of 200 tokens a month, fails closed"),
        ("over budget", "205 of 200 tokens are used this month"),
        ("within budget", "0% of 200 tokens a month, fails closed"),
    ]
    plane.close()


async def test_what_a_deployment_costs_counts_and_a_control_plane_that_starts_knows_it(store: SqliteStore) -> None:
    time = Time()
    plane = await ControlPlane.open(store, clock=lambda: time.now)
    made = await plane.deploy("desk", Change("m", 1, budget=Budget("open", cost=2.0, per="day")))
    spec = ClusterSpec("local", resources={"cpu": Offer(4, price=3.6)})
    end = int(NOON * 1000)
    hour_ago = Stretch("desk-0", "e", "desk", "v", end - 3_600_000, end, price=price_version(spec))
    await plane.sync(Observed("local", -1, (), "a", 1, usage=(hour_ago,), spec=spec), 0)
    plane.close()
    again = await ControlPlane.open(store, clock=lambda: time.now)
    (limit,) = (await again.routes(-1, 0)).limits
    assert (limit.of, limit.name, limit.closed) == ("deployment", "desk", False)
    assert limit.over == "3.60 of 2 are spent today"
    promoted = await again.promote("desk", "desk.production")
    assert promoted.budget == made.budget
    assert (await again.deploy("desk", Change("m", 1))).budget is None
    again.close()
