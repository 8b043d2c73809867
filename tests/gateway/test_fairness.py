"""Who waits and who is refused; what a key may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from colonnade.gateway.fairness import CREDIT, FairQueue, Refusal, Waiting
from colonnade.gateway.quota import Quota, Quotas
from colonnade.wire.errors import DeadlineExceeded, Overloaded, RateLimited
from colonnade.wire.routes import Allowance, KeyRecord


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


def after_a_pause(tokens: float) -> str:
    """Who goes, when one comes that had asked for nothing while another had a hundred thousand tokens."""
    queue = FairQueue()
    for _ in range(10):
        queue.offer(Waiting("a", 10_000), 0.0)
        went, _ = queue.next(0.0)
        assert went is not None
        queue.settle(went, 10_000)
    for _ in range(10):
        queue.offer(Waiting("a", tokens), 0.0)
        queue.offer(Waiting("l", tokens), 0.0)
    return "".join(item.tenant for item in (queue.next(0.0)[0] for _ in range(10)) if item)


def test_nobody_saves_up() -> None:
    assert after_a_pause(10_000) == "la" * 5


def test_a_few_at_once_go_first() -> None:
    assert after_a_pause(CREDIT / 2) == "ll" + after_a_pause(CREDIT)[1:9]


def test_what_did_not_go_from_here_is_not_settled() -> None:
    queue = FairQueue()
    queue.offer(item := Waiting("a", 100), 0.0)
    queue.withdraw(item)
    queue.settle(item, 70)
    assert queue._service == {"a": 0.0}
    queue.offer(item, 0.0)
    assert queue.next(0.0)[0] is item
    for _ in range(2):
        queue.settle(item, 70)
    assert queue._service == {"a": 70.0}, "once"


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


@given(st.integers(1, 40), st.floats(0.5, 4.0))
def test_a_tenant_that_comes_late_is_not_held_to_what_was_only_guessed(before: int, weight: float) -> None:
    queue = FairQueue()
    running = Waiting("greedy", 1000, weight=weight)
    queue.offer(running, 0.0)
    assert queue.next(0.0)[0] is running
    for _ in range(before):
        queue.offer(Waiting("greedy", 1000, weight=weight), 0.0)
    queue.offer(Waiting("modest", 1000), 0.0)
    queue.settle(running, 9)
    first, _ = queue.next(0.0)
    second, _ = queue.next(0.0)
    assert {each.tenant for each in (first, second) if each} == {"greedy", "modest"}


def test_what_could_not_go_is_again_where_it_was() -> None:
    queue = FairQueue()
    first, second = Waiting("a", 7, size=3), Waiting("a", 7)
    for item in (first, second):
        queue.offer(item, 0.0)
    assert queue.next(0.0)[0] is first
    queue.put_back(first)
    assert (len(queue), queue.bytes, list(queue)) == (2, 3, [first, second])
    assert queue.next(0.0)[0] is first
    queue.withdraw(first)
    queue.withdraw(second)
    queue.withdraw(second)
    assert (len(queue), queue.bytes) == (0, 0)


class Crowd(RuleBasedStateMachine):
    """Whatever happens, counts and bytes are those of what waits, and each item leaves once."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue(most=6, most_bytes=40)
        self.waiting: set[Waiting] = set()
        self.running: list[Waiting] = []
        self.now = 0.0

    def gone(self, refusals: list[Refusal]) -> None:
        for item, _ in refusals:
            self.waiting.remove(item)

    @rule(tenant=st.sampled_from("abc"), tokens=st.integers(1, 50), size=st.integers(0, 30), patience=st.integers(1, 9))
    def come(self, tenant: str, tokens: int, size: int, patience: int) -> None:
        item = Waiting(tenant, tokens, size, tokens % 3, 1.0 + size % 2, self.now + patience)
        self.waiting.add(item)
        self.gone(self.queue.offer(item, self.now))

    @rule(back=st.booleans())
    def go(self, back: bool) -> None:
        best = max((item.priority for item in self.waiting if item.deadline > self.now), default=None)
        item, late = self.queue.next(self.now)
        self.gone(late)
        if item is None:
            assert best is None
        elif back:
            self.queue.put_back(item)
        else:
            assert item.priority == best
            self.waiting.remove(item)
            self.running.append(item)

    @rule(tokens=st.integers(0, 90))
    def end(self, tokens: int) -> None:
        if self.running:
            self.queue.settle(self.running.pop(), tokens)

    @rule()
    def leave(self) -> None:
        for item in sorted(self.waiting, key=lambda item: item.tokens)[:1]:
            self.waiting.remove(item)
            self.queue.withdraw(item)

    @rule(seconds=st.floats(0.1, 5.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts(self) -> None:
        assert set(self.queue) == self.waiting
        assert len(self.queue) == len(self.waiting) <= 6
        assert self.queue.bytes == sum(item.size for item in self.waiting) <= 40
        assert self.queue.retry_after() >= 1.0


TestCrowd = Crowd.TestCase


@given(st.integers(1, 500), st.integers(1, 500), st.floats(0.1, 300.0))
def test_retry_after_is_true(limit: int, amount: int, at: float) -> None:
    """At the time that it says the same request fits, and not a second before."""
    quota = Quota(None, limit, 0.0)
    quota.reserve(limit, 0.0)
    try:
        quota.reserve(amount, at)
        return
    except RateLimited as error:
        after = error.after or 0.0
    if after > 1:
        with pytest.raises(RateLimited):
            quota.reserve(amount, at + after - 1)
    quota.reserve(amount, at + after + 1e-6)


def test_quotas_keep_what_was_used_over_changes() -> None:
    quotas = Quotas()
    limited = KeyRecord("a", "d1", "t", allowance=Allowance(requests_per_minute=1))
    quotas.update((limited, KeyRecord("b", "d2", "t")), 0.0)
    first = quotas.of(limited)
    assert first is not None
    first.reserve(5, 0.0)
    assert quotas.of(KeyRecord("b", "d2", "t")) is None
    quotas.update((KeyRecord("a", "d1", "t", allowance=Allowance(requests_per_minute=1, tokens_per_minute=9)),), 1.0)
    assert quotas.of(limited) is first
    with pytest.raises(RateLimited):
        first.reserve(1, 1.0)
    first.give_back(5, 1.0)
    first.reserve(1, 1.0)
    quotas.update((), 2.0)
    assert quotas.of(limited) is None


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
