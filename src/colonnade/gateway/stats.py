"""What the gateway counts: plain numbers while it serves, made into metrics only when someone asks. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from colonnade.wire.buckets import bucket

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of a histogram's buckets, in seconds."""


class Histogram:
    """Counts by bucket; the last one has no bound."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, observations at or under it), as Prometheus wants them."""
        out: list[tuple[str, float]] = []
        below = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            below += count
            out.append((bound, below))
        return out


@dataclass(slots=True)
class Tally:
    """How the replicas of one version answered. `first`: `wire.buckets` of the seconds to the first byte."""

    requests: int = 0
    errors: int = 0
    first: Counter[int] = field(default_factory=Counter[int])


@dataclass(slots=True)
class Stats:
    """Everything since the start. `requests` by (model, status), `refused` by error code."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    refused: Counter[str] = field(default_factory=Counter[str])
    retries: Counter[str] = field(default_factory=Counter[str])
    times: dict[str, tuple[Histogram, Histogram]] = field(default_factory=dict[str, tuple[Histogram, Histogram]])
    """By model: until the first byte, until the last."""
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Of answers that said what they cost, by tenant: of prompts, of answers."""
    limited: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By key, and "requests" or "tokens"."""
    waits: dict[str, Histogram] = field(default_factory=dict[str, Histogram])
    """By model: how long those waited that did."""
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict[tuple[str, str], Tally])
    """By model and version."""
    broken: int = 0
    """Streams that ended by an error event."""
    left: int = 0
    """Requests whose client went away before the end."""
    stalls: int = 0
    """Requests taken from a replica that made no progress."""
    resumed: int = 0
    """Times that a stream went on from another replica."""
    hedged: int = 0
    """Streams that a second replica was asked for."""
    hedges_won: int = 0
    """Of these, those that it began first."""
    load_gaps: int = 0

    def used(self, tenant: str, prompt: int, completion: int) -> None:
        before = self.tokens.get(tenant, (0, 0))
        self.tokens[tenant] = (before[0] + prompt, before[1] + completion)

    def waited(self, model: str, seconds: float) -> None:
        self.waits.setdefault(model, Histogram()).add(seconds)

    def answered(self, model: str, version: str, status: int, first: float) -> None:
        """By a replica of this version; `first`: seconds to the first byte."""
        tally = self._tally(model, version)
        tally.requests += 1
        tally.errors += status >= 500
        tally.first[bucket(first)] += 1

    def lost(self, model: str, version: str) -> None:
        """A replica of this version lost a request, which counts though another one answers it."""
        tally = self._tally(model, version)
        tally.requests += 1
        tally.errors += 1

    def _tally(self, model: str, version: str) -> Tally:
        return self.tallies.setdefault((model, version), Tally())

    def took(self, model: str, first: float, whole: float) -> None:
        """Seconds from the request to the answer's first and last byte."""
        times = self.times.get(model)
        if times is None:
            times = self.times[model] = (Histogram(), Histogram())
        times[0].add(first)
        times[1].add(whole)
