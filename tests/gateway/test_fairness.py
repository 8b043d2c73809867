"""Who waits and who is refused; what a key may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.fairness import FairQueue, Waiting
from colonnade.gateway.quota import Quota
from colonnade.wire.errors import DeadlineExceeded, Overloaded, RateLimited


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=60))
def test_tenants_that_wait_get_the_same_service(asks: list[tuple[str, int]]) -> None:
    queue = FairQueue()
    for tenant in "abc":
        for _ in range(60):
            queue.offer(Waiting(tenant, 5), 0.0)
    for _, tokens in asks:
        item, _ = queue.next(0.0)
        assert item is not None
        queue.settle(item, tokens)
        served = queue._service  # the invariant itself
        assert max(served.values()) - min(served.values()) <= 9 + 5


def test_weights_and_priorities() -> None:
    queue = FairQueue()
    heavy = [Waiting("heavy", 10, weight=3.0) for _ in range(30)]
    light = [Waiting("light", 10) for _ in range(30)]
    for item in [*heavy, *light]:
        queue.offer(item, 0.0)
    first = Waiting("light", 10, priority=1)
    queue.offer(first, 0.0)
    assert queue.next(0.0)[0] is first
    went = [item.tenant for item in (queue.next(0.0)[0] for _ in range(20)) if item]
    assert 14 <= went.count("heavy") <= 17, "three times the share, less what light had"
    assert len(queue) == 40


def test_nobody_saves_up() -> None:
    queue = FairQueue()
    for _ in range(10):
        queue.offer(Waiting("a", 100), 0.0)
        queue.next(0.0)
    for _ in range(10):
        queue.offer(Waiting("a", 100), 0.0)
        queue.offer(Waiting("late", 100), 0.0)
    went = [item.tenant for item in (queue.next(0.0)[0] for _ in range(10)) if item]
    assert went.count("late") == 5


def test_bounds_shed_the_least() -> None:
    queue = FairQueue(most=3, most_bytes=100)
    kept = [Waiting("a", 1, priority=1), Waiting("b", 1), Waiting("c", 1)]
    for item in kept:
        assert queue.offer(item, 0.0) == []
    many = Waiting("b", 1)
    ((shed, error),) = queue.offer(many, 0.0)
    assert shed is many
    assert isinstance(error, Overloaded)
    assert error.reason == "queue_full"
    above = Waiting("d", 1, priority=2)
    ((shed, _),) = queue.offer(above, 0.0)
    assert shed in kept[1:]
    big = Waiting("e", 1, size=200, priority=-1)
    ((shed, _),) = queue.offer(big, 0.0)
    assert shed is big
    assert (len(queue), queue.bytes) == (3, 0)


def test_deadlines_and_pace() -> None:
    queue = FairQueue()
    late, good = Waiting("a", 1, deadline=1.0), Waiting("a", 1, deadline=9.0)
    queue.offer(late, 0.0)
    queue.offer(good, 0.0)
    item, refused = queue.next(2.0)
    assert item is good
    assert refused[0][0] is late
    assert isinstance(refused[0][1], DeadlineExceeded)
    assert queue.next(2.0) == (None, [])
    for number in range(12):
        queue.offer(Waiting("a", 1), 0.0)
        queue.offer(Waiting("a", 1), 0.0)
        queue.next(2.0 + 2 * number)
    assert queue.retry_after() == pytest.approx(len(queue) * 2.0, rel=0.4)


def test_quota() -> None:
    quota = Quota(2, 600, 0.0)
    quota.reserve(500, 0.0)
    with pytest.raises(RateLimited) as refused:
        quota.reserve(200, 0.0)
    assert refused.value.hint == "send it again in 10 s"
    quota.reserve(200, 10.0)
    quota.settle(200, 0, 10.0)
    with pytest.raises(RateLimited, match="requests"):
        quota.reserve(1, 10.0)
    quota.change(None, None, 10.0)
    for _ in range(9):
        quota.reserve(10_000, 10.0)
    quota.change(1, 100, 10.0)
    quota.reserve(5000, 10.0)
    with pytest.raises(RateLimited):
        quota.reserve(1, 11.0)
    quota.settle(5000, 100, 11.0)
    quota.reserve(100, 75.0)
    quota.change(0, 50, 75.0)
    with pytest.raises(RateLimited, match="requests") as refused:
        quota.reserve(1, 999.0)
    assert "never" in refused.value.hint
