"""What a gateway refuses for a budget: what is used up, and what it cannot know."""

from __future__ import annotations

import time

import pytest
from gateway_house import House
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.budgets import DOUBT, Budgets
from colonnade.wire.errors import BudgetExceeded, Overloaded
from colonnade.wire.routes import Limit

NOW = 1_000_000.0


def budgets(*limits: Limit) -> Budgets:
    found = Budgets()
    found.update(limits)
    return found


@given(
    st.booleans(), st.booleans(), st.integers(-100, 100), st.integers(0, 200), st.sampled_from(("key", "deployment"))
)
def test_the_rule(closed: bool, over: bool, left: int, silence: int, of: str) -> None:
    book = budgets(Limit(of, "a", closed, NOW + left, "used" if over else ""))
    wanted = BudgetExceeded if over and left > 0 else Overloaded if closed and silence > DOUBT else None
    if wanted is None:
        book.check("a", "a", NOW, silence)
    else:
        with pytest.raises(wanted):
            book.check("a", "a", NOW, silence)
    book.check("b", "b", NOW, silence)
    Budgets().check("a", "a", NOW, silence)


async def test_over_budget_is_a_typed_error_with_its_reason_until_it_is_raised(house: House) -> None:
    worker = await house.worker()
    limit = Limit("key", "test", closed=True, renewed=time.time() + 500, over="105 of 100 tokens are used this month")
    gateway = await house.gateway(worker)
    gateway.apply(house.routes(worker, limits=(limit,)))
    reply = await house.ask(gateway)
    assert reply.status == 402
    assert b'"budget_exceeded"' in reply.body
    assert b"105 of 100 tokens are used this month" in reply.body
    assert 490 < int(reply.headers["retry-after"]) <= 500
    gateway.apply(house.routes(worker))
    assert (await house.ask(gateway)).status == 200


async def test_a_budget_of_a_deployment_that_fails_closed_refuses_while_nobody_is_heard(house: House) -> None:
    worker = await house.worker()
    gateway = await house.gateway(worker)
    gateway.apply(house.routes(worker, limits=(Limit("deployment", "tiny", True, time.time() + 500),)))
    gateway.plane.heard = gateway.plane.now() - DOUBT - 1
    reply = await house.ask(gateway)
    assert (reply.status, b'"budget_unknown"' in reply.body) == (503, True)
    gateway.plane.hear()
    assert (await house.ask(gateway)).status == 200
    gateway.apply(house.routes(worker, limits=(Limit("deployment", "tiny", False, time.time() + 500),)))
    gateway.plane.heard = gateway.plane.now() - DOUBT - 1
    assert (await house.ask(gateway)).status == 200
