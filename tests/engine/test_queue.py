"""Who goes in next: the longest cached prefix, and nobody overtaken for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colonnade.engine.queue import Policy
from colonnade.engine.request import Request, enlist
from colonnade.wire.messages import Sampling, Submit


def request(arrival: int, priority: int = 0) -> Request:
    return Request(Submit(f"{arrival}", [1, 2], Sampling(), priority=priority), arrival, 100)


def order(policy: Policy, queue: list[Request], *saved: int) -> list[int]:
    return [each.arrival for each in policy.order(queue, lambda each: saved[each.arrival])]


def test_the_longest_cached_prefix_goes_first_and_of_equals_the_senior() -> None:
    queue = [request(arrival) for arrival in range(4)]
    assert order(Policy(4, 9), queue, 0, 5, 7, 5) == [2, 1, 3, 0]
    assert order(Policy(2, 9), queue, 0, 5, 7, 5) == [1, 0]
    assert order(Policy(4, 9), [], 0) == []


def test_between_priorities_the_order_is_strict() -> None:
    queue: list[Request] = []
    for arrival, priority in enumerate((0, 1, 1, 0)):
        enlist(queue, request(arrival, priority))
    assert order(Policy(4, 9), queue, 9, 0, 5, 9) == [2, 1]


def test_one_that_was_overtaken_often_enough_lets_nobody_past() -> None:
    policy, queue = Policy(4, 2), [request(arrival) for arrival in range(4)]
    for taken, passed in ((2, [1, 1, 0]), (3, [2, 2])):
        chosen = next(each for each in queue if each.arrival == taken)
        policy.leaves(queue, chosen)
        queue.remove(chosen)
        assert [each.overtaken for each in queue] == passed
    assert order(policy, queue, 0, 9) == [0]


def test_one_that_has_begun_lets_nobody_past() -> None:
    queue = [request(arrival) for arrival in range(3)]
    queue[1].untold = 0
    assert order(Policy(3, 9), queue, 0, 1, 9) == [1, 0]


arrivals = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=30)


@given(arrivals, st.integers(1, 5), st.integers(0, 4))
def test_nobody_is_overtaken_more_than_the_bound(waves: list[list[int]], window: int, patience: int) -> None:
    """One enters after each wave; `saved` is drawn, so that the policy has every reason to pass somebody over."""
    policy, queue, entered, saved = Policy(window, patience), list[Request](), list[int](), list[int]()
    while waves or queue:
        for worth in waves.pop(0) if waves else ():
            saved.append(worth)
            enlist(queue, request(len(saved) - 1))
        if queue:
            best = policy.order(queue, lambda each: saved[each.arrival])[0]
            policy.leaves(queue, best)
            queue.remove(best)
            entered.append(best.arrival)
    assert sorted(entered) == list(range(len(saved)))
    for place, arrival in enumerate(entered):
        assert sum(other > arrival for other in entered[:place]) <= patience
