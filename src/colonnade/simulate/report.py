"""What a run of the simulation showed, in numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import ceil
from statistics import fmean, pstdev

import msgspec

from colonnade.simulate.fleet import Served
from colonnade.simulate.lru import shared

WINDOW = 60.0
"""Seconds."""


class Result(msgspec.Struct, frozen=True):
    """`hit_rate`: prompt tokens that were not computed; `of_shared`: over what one shared cache of the same total size
    would have had. `cv`: standard deviation over mean, between replicas, of the uncached tokens dispatched in a minute;
    the mean over whole minutes. Times in seconds."""

    rule: str
    replicas: int
    cache_tokens: int
    requests: int
    hit_rate: float
    of_shared: float
    cv: float
    ttft_p50: float
    ttft_p99: float
    ttft_mean: float


def result(rule: str, replicas: int, cache_tokens: int, served: Sequence[Served]) -> Result:
    arrivals = sorted((each.arrival for each in served), key=lambda arrival: arrival.at)
    prompts = sum(arrival.prompt for arrival in arrivals)
    hit_rate = 1 - sum(each.uncached for each in served) / prompts
    times = sorted(each.first for each in served)
    return Result(
        rule=rule,
        replicas=replicas,
        cache_tokens=cache_tokens,
        requests=len(served),
        hit_rate=round(hit_rate, 4),
        of_shared=round(hit_rate / (shared([a.blocks for a in arrivals], replicas * cache_tokens) or 1.0), 4),
        cv=round(variation(served, replicas), 4),
        ttft_p50=round(rank(times, 50), 4),
        ttft_p99=round(rank(times, 99), 4),
        ttft_mean=round(fmean(times), 4),
    )


def variation(served: Sequence[Served], replicas: int) -> float:
    windows: dict[int, list[float]] = defaultdict(lambda: [0.0] * replicas)
    for each in served:
        windows[int(each.arrival.at // WINDOW)][each.replica] += each.uncached
    whole = sorted(windows)[:-1] or sorted(windows)
    return fmean(pstdev(windows[window]) / fmean(windows[window]) for window in whole)


def rank(ordered: Sequence[float], level: float) -> float:
    """Nearest rank: the smallest value that has `level` percent at or below it."""
    return ordered[max(ceil(level * len(ordered) / 100), 1) - 1]
