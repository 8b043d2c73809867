"""Percentiles by one documented definition: nearest rank.

The p-th percentile of n values is the smallest of them with at least p percent of the n at or below it: the value of
rank ceil(p/100 * n). It is always a value that was observed, and never interpolated between two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

LEVELS = (50, 90, 95, 99)


def percentile(ordered: Sequence[float], level: float) -> float:
    """Of values in ascending order, at least one; 0 < level <= 100."""
    assert ordered
    assert 0 < level <= 100
    # Products such as 0.07 * 100 lie a hair above the whole number they mean.
    rank = math.ceil(round(level * len(ordered) / 100, 9))
    return ordered[max(rank, 1) - 1]


class Summary(msgspec.Struct, frozen=True):
    """Of many values of one unit."""

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    max: float
    count: int


def summary(values: Iterable[float]) -> Summary | None:
    """None where there is no value."""
    ordered = sorted(values)
    if not ordered:
        return None
    levels = [percentile(ordered, level) for level in LEVELS]
    return Summary(*levels, mean=math.fsum(ordered) / len(ordered), max=ordered[-1], count=len(ordered))
