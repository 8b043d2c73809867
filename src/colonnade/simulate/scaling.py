"""A deployment that a rule scales, on a virtual clock; what it attains and what it takes, beside an oracle.

Requests wait at the gateway beyond what replicas can take (late binding), first come first served; a replica that is
asked for serves after its start time and is paid for from then on that it was asked for. A tick's requests attain their
level when the 95th percentile of the wait and the prompt's time holds; the time between tokens always does, for no
replica is given more than it can take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from colonnade.simulate.demand import TICK_S, Demand, Slo, Tick
from colonnade.simulate.scalers import RULES, Rule

ENOUGH = 0.99
"""Of the requests."""
MINUTE = 60.0
PATIENCE_S = 30.0
"""A request that waits for longer is given up by its client, unattained."""
SHARES = [share / 100 for share in range(30, 101, 5)]
"""Of what a replica at its capacity has in flight: the targets that are tried."""
_SLACK = 1 + 1e-9


@dataclass(frozen=True)
class Run:
    requests: float
    attained: float
    """Share of the requests."""
    replica_s: float


class ScalingResult(msgspec.Struct, frozen=True):
    """`target`: requests in flight that a replica should have, chosen on the days before. `over_oracle`: replica-hours
    over the oracle's."""

    rule: str
    start_s: float
    target: float
    attained: float
    replica_hours: float
    over_oracle: float


class Deployment:
    """`begin`: replicas that are ready at first."""

    def __init__(self, start_s: float, begin: int, slo: Slo) -> None:
        self._start_s = start_s
        self._slo = slo
        self._starting: deque[float] = deque()
        self._backlog = 0.0
        self.ready = begin

    @property
    def wanted(self) -> int:
        return self.ready + len(self._starting)

    def tick(self, tick: Tick, now: float) -> tuple[float, bool]:
        """What is in flight after it, and whether its requests attained."""
        while self._starting and self._starting[0] <= now:
            self._starting.popleft()
            self.ready += 1
        before, room = self._backlog, self.ready * tick.capacity
        waiting = before + tick.arrivals
        served = min(waiting, room * TICK_S)
        self._backlog = min(waiting - served, PATIENCE_S * room)
        rate = served / TICK_S / self.ready
        first = max(before, self._backlog) / room + tick.first_token(rate)
        return self._backlog + self.ready * tick.in_flight(rate), first <= self._slo.first * _SLACK

    @property
    def waiting(self) -> float:
        return self._backlog

    def scale(self, replicas: int, now: float) -> None:
        """Those that start go first."""
        self._starting.extend([now + self._start_s] * (replicas - self.wanted))
        while self.wanted > max(replicas, 1):
            if self._starting:
                self._starting.pop()
            else:
                self.ready -= 1


def run(demand: Demand, rule: Rule, start_s: float, begin: int, slo: Slo, since: float = 0.0) -> Run:
    """`since`: seconds from which on it counts; what was before, the rule has seen."""
    deployment = Deployment(start_s, begin, slo)
    requests = good = paid = 0.0
    for number, tick in enumerate(demand.ticks):
        in_flight, attained = deployment.tick(tick, number * TICK_S)
        if number * TICK_S >= since:
            requests += tick.arrivals
            good += tick.arrivals if attained else 0.0
            paid += deployment.wanted * TICK_S
        now = (number + 1) * TICK_S
        deployment.scale(rule.decide(now, in_flight, deployment.waiting, deployment.wanted, deployment.ready), now)
    return Run(requests, good / max(requests, 1e-9), paid)


def least(demand: Demand) -> NDArray[np.int64]:
    """Replicas by minute without which some tick of it would not attain."""
    need_T = np.ceil(demand.arrivals_T / (demand.capacity_T * TICK_S) / _SLACK)
    whole = len(need_T) - len(need_T) % int(MINUTE / TICK_S)
    return np.maximum(need_T[:whole].reshape(-1, int(MINUTE / TICK_S)).max(axis=1), 1).astype(np.int64)


def oracle(least_M: NDArray[np.int64], start_s: float) -> float:
    """Replica-seconds of the cheapest way to have so many in each minute: each is asked for its start time before it
    is needed, or kept through a pause that is no longer than that; what is there at first was there before."""
    paid = float(least_M.sum()) * MINUTE
    for level in range(1, int(least_M.max()) + 1):
        edges_M = np.flatnonzero(np.diff(np.concatenate(([0], (least_M >= level).astype(np.int8), [0]))))
        begins, ends = edges_M[::2], edges_M[1::2]
        pauses = (begins[1:] - ends[:-1]) * MINUTE
        paid += float(np.minimum(pauses, start_s).sum()) + min(float(begins[0]) * MINUTE, start_s)
    return paid


def tune(make: Callable[[float], Rule], learning: Demand, start_s: float, slo: Slo) -> float:
    """The largest target that attains on these days; by halving, for less in flight attains more."""
    full, begin = learning.full(), int(least(learning)[0])
    low, high = 0, len(SHARES) - 1
    while low < high:
        middle = (low + high + 1) // 2
        attained = run(learning, make(full * SHARES[middle]), start_s, begin, slo).attained
        low, high = (middle, high) if attained >= ENOUGH else (low, middle - 1)
    return full * SHARES[low]


def score(name: str, demand: Demand, split: float, start_s: float, slo: Slo) -> ScalingResult:
    """The target is chosen on what lies before `split` (seconds), the rest is scored."""
    make, learning = RULES[name], demand.part(0, split)
    target = tune(make, learning, start_s, slo)
    found = run(demand, make(target), start_s, int(least(demand)[0]), slo, split)
    ideal = oracle(least(demand.part(split, demand.seconds)), start_s)
    return ScalingResult(
        name,
        start_s,
        round(target, 2),
        round(found.attained, 5),
        round(found.replica_s / 3600, 1),
        round(found.replica_s / ideal, 4),
    )
