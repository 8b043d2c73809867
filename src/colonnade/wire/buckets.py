"""Times counted by size: bucket n holds what took at most FIRST * GROWTH**n seconds. Pure; sparse: cheap to send.

A quantile is read as the upper bound of its bucket: at most GROWTH too high.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log

FIRST, GROWTH = 0.001, 1.25
LAST = 64
"""Of about half an hour: what takes longer is in it too."""


def bucket(seconds: float) -> int:
    if seconds <= FIRST:
        return 0
    return min(ceil(log(seconds / FIRST) / log(GROWTH)), LAST)


def bound(index: int) -> float:
    """Seconds."""
    return FIRST * GROWTH**index


def quantile(counts: Mapping[int, int], share: float) -> float:
    """The least bound, in seconds, under which at least `share` of all that was counted lies; 0 of nothing."""
    wanted = share * sum(counts.values())
    below = 0
    for index in sorted(counts):
        below += counts[index]
        if below >= wanted:
            return bound(index)
    return 0.0
