"""Times by size."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from colonnade.wire.buckets import FIRST, GROWTH, LAST, bound, bucket, quantile

TIMES = st.floats(0, 1000)


@given(TIMES)
def test_a_bucket_holds_what_its_bound_says(seconds: float) -> None:
    index = bucket(seconds)
    assert seconds <= bound(index) * (1 + 1e-9)
    assert index == 0 or seconds > bound(index - 1) * (1 - 1e-9)


@given(st.lists(TIMES, min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_at_most_one_bucket_too_high(times: list[float], share: float) -> None:
    counts = Counter(bucket(each) for each in times)
    found = quantile(counts, share)
    covered = sum(each <= found * (1 + 1e-9) for each in times)
    assert covered >= share * len(times) - 1e-9
    below = sum(bound(bucket(each)) < found for each in times)
    assert below < share * len(times) + 1e-9


def test_ends() -> None:
    assert bucket(0.0) == bucket(FIRST) == 0
    assert bucket(FIRST * GROWTH * 0.99) == 1
    assert bucket(1e9) == LAST
    assert quantile({}, 0.95) == 0.0
    assert quantile({3: 1}, 1.5) == 0.0  # no share above all
