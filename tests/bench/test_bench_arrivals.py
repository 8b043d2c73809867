"""The schedule: the trace's moments, its beginning again when it is too short, or a Poisson process."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.bench.arrivals import schedule
from colonnade.bench.trace import Request

requests = st.lists(st.floats(0, 100), min_size=1, max_size=8).map(
    lambda times: [Request(at - min(times), n, n, (n,)) for n, at in enumerate(sorted(times))]
)


@given(requests, st.integers(1, 30))
def test_moments_never_go_back_and_laps_share_no_block(trace: list[Request], count: int) -> None:
    found = schedule(trace, count, None, np.random.default_rng(0))
    assert len(found) == count
    assert found[: len(trace)] == trace[:count]
    assert all(a.at <= b.at for a, b in pairwise(found))
    assert len({each.blocks for each in found}) == count
    assert [each.prompt for each in found] == [n % len(trace) for n in range(count)]


@given(requests, st.integers(1, 30), st.floats(0.1, 1000))
def test_poisson_keeps_the_order_and_lengths(trace: list[Request], count: int, rate: float) -> None:
    found = schedule(trace, count, rate, np.random.default_rng(0))
    assert found[0].at == 0
    assert all(a.at <= b.at for a, b in pairwise(found))
    assert [each.prompt for each in found] == [n % len(trace) for n in range(count)]


def test_poisson_has_the_rate() -> None:
    found = schedule([Request(0, 1, 1)], 20_001, 8.0, np.random.default_rng(4))
    gaps = [b.at - a.at for a, b in pairwise(found)]
    assert np.mean(gaps) == pytest.approx(1 / 8, rel=0.03)
    assert np.std(gaps) == pytest.approx(1 / 8, rel=0.05)
