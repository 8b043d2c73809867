"""Nearest rank, by its definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.bench.percentiles import percentile, summary

values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60)


@given(values, st.integers(1, 100))
def test_the_definition(drawn: list[float], level: int) -> None:
    """The smallest value with at least `level` percent of all at or below it."""
    found = percentile(sorted(drawn), level)
    enough = [v for v in drawn if 100 * sum(w <= v for w in drawn) >= level * len(drawn)]
    assert found == min(enough)


@given(values)
def test_the_summary_is_in_order(drawn: list[float]) -> None:
    found = summary(drawn)
    assert found is not None
    assert min(drawn) <= found.p50 <= found.p90 <= found.p95 <= found.p99 <= found.max == max(drawn)
    assert found.mean == pytest.approx(math.fsum(drawn) / len(drawn))
    assert found.count == len(drawn)


def test_known_cases() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, level) for level in (1, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([3.0], 1) == 3.0
    assert percentile(hundred, 7) == 7  # 7 * 100 / 100 in floats is a hair above 7
    assert summary([]) is None
