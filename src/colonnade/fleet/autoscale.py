"""How many replicas a deployment should have, by demand. Pure: samples and `now` in, a decision with its reason out.

    demand                requests in flight, those that wait for a replica included; gateways report it
    wish                  ceil(mean demand over a window / scaling.target), within scaling.min and scaling.max

Two windows, after Knative's pod autoscaler (knative.dev/docs/serving/autoscaling/autoscaler-types): the *stable* one
decides in calm times. When the wish of the short *panic* one is twice what is ready, that one decides, upwards only,
until it has been calm for a stable window.

- **Up**: at once, to at most twice what is ready, one at least: replicas that are still starting must show first what
  they bring, so the pace follows the time that a start takes, and a burst that meets no replica activates one.
- **Down**: to the largest wish of the last stable window, and by half at most; to nothing only after `scaling.idle`
  seconds without any demand.
- **Forecast**: with `scaling.forecast`, no less than what is usual at this time of the day asks for (`fleet.forecast`).
- **Blind**: when no gateway has reported lately, nothing changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from colonnade.fleet.forecast import Shape
from colonnade.wire.routes import Scaling


@dataclass(frozen=True)
class Pace:
    """Seconds, and the factor over what is ready at which calm ends."""

    stable_s: float = 60.0
    panic_s: float = 6.0
    panic_at: float = 2.0
    blind_s: float = 5.0
    ahead_s: float = 180.0
    """How far the forecast looks."""


@dataclass(frozen=True)
class Sample:
    """What all gateways together had in flight at this moment; `held`: of these, what waits for a replica."""

    at: float
    in_flight: int
    held: int = 0


@dataclass(frozen=True)
class Decision:
    """`replicas` as they should be; `reason` in one sentence, with the figures that led to it."""

    replicas: int
    reason: str


class Autoscaler:
    """Of one deployment. `observe` each sample, in order of time; `decide` whenever it pleases."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._samples: deque[Sample] = deque()
        self._wishes: deque[tuple[float, int]] = deque()
        self._shape = Shape()
        self._panic_until = float("-inf")
        self._busy_at: float | None = None
        """When there was demand last; at first, when the first sample came."""

    def observe(self, sample: Sample) -> None:
        self._samples.append(sample)
        self._shape.observe(sample.at, sample.in_flight - sample.held)
        if sample.in_flight or self._busy_at is None:
            self._busy_at = sample.at

    def decide(self, scaling: Scaling, now: float, replicas: int, ready: int) -> Decision:
        """`replicas`: wanted now; `ready`: of them, those that serve."""
        self._forget(now)
        if replicas < scaling.min:
            return Decision(scaling.min, f"at least {scaling.min} are wanted")
        if replicas > scaling.max:
            return Decision(scaling.max, f"at most {scaling.max} are wanted")
        if not self._samples or now - self._samples[-1].at > self._pace.blind_s:
            return Decision(replicas, f"no gateway has reported demand for {self._pace.blind_s:g} s: nothing changes")
        return self._by_demand(scaling, now, replicas, ready)

    def _forget(self, now: float) -> None:
        while self._samples and self._samples[0].at < now - self._pace.stable_s:
            self._samples.popleft()
        while self._wishes and self._wishes[0][0] < now - self._pace.stable_s:
            self._wishes.popleft()

    def _by_demand(self, scaling: Scaling, now: float, replicas: int, ready: int) -> Decision:
        stable = _mean(self._samples)
        panic = _mean(each for each in self._samples if each.at > now - self._pace.panic_s)
        rushed = _wish(panic, scaling)
        if rushed >= self._pace.panic_at * max(ready, 1) and rushed > replicas:
            self._panic_until = now + self._pace.stable_s
        panicking = now < self._panic_until
        wish = max(rushed, replicas) if panicking else _wish(stable, scaling)
        mean, window = (panic, self._pace.panic_s) if panicking else (stable, self._pace.stable_s)
        said = f"{mean:.1f} in flight over {window:g} s, {scaling.target:g} a replica"
        usual = self._shape.ahead(now, self._pace.ahead_s) if scaling.forecast else 0.0
        if (floor := _wish(usual, scaling)) > wish:
            wish, said = floor, f"{said}; {usual:.1f} are usual within {self._pace.ahead_s:g} s"
        self._wishes.append((now, wish))
        if wish > replicas:
            return _up(wish, replicas, ready, said)
        return self._down(scaling, now, replicas, said) if wish < replicas else Decision(replicas, said)

    def _down(self, scaling: Scaling, now: float, replicas: int, said: str) -> Decision:
        """Not before a whole stable window was seen; no lower than anything that it asked for."""
        first = self._samples[0].at
        if first > now - self._pace.stable_s * 0.9:
            return Decision(replicas, f"{said}; watched for {now - first:.0f} s only")
        floor = max(wish for _, wish in self._wishes)
        wanted = max(floor, replicas // 2, scaling.min)
        if wanted == 0:
            return self._rest(scaling, now, replicas)
        return Decision(min(replicas, wanted), said)

    def _rest(self, scaling: Scaling, now: float, replicas: int) -> Decision:
        assert self._busy_at is not None
        idle = now - self._busy_at
        if idle < scaling.idle:
            return Decision(max(1, replicas // 2), f"no demand for {idle:.0f} of {scaling.idle:g} s")
        return Decision(0, f"no demand for {idle:.0f} s")


def _mean(samples: Iterable[Sample]) -> float:
    seen = [each.in_flight for each in samples]
    return sum(seen) / len(seen) if seen else 0.0


def _wish(demand: float, scaling: Scaling) -> int:
    return min(max(ceil(demand / scaling.target), scaling.min), scaling.max)


def _up(wish: int, replicas: int, ready: int, said: str) -> Decision:
    """At most twice what is ready; what is wanted already stays wanted."""
    most = max(replicas, 2 * ready, 1)
    if wish > most:
        return Decision(most, f"{said}: {wish} wished, {ready} ready, so {most} for now")
    return Decision(wish, said)
