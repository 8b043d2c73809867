"""Rules that say how many replicas: ours, as it runs in production, and those of others, written down from their
documentation to compare with. They are not offered to users.

`Knative`, its pod autoscaler (knative.dev/docs/serving/autoscaling, pkg/autoscaler/scaling): the mean in flight over
60 s, or over 6 s when that asks for twice what is ready (then no less for 60 s); at most 1000 times, at least half of
what is ready.

`RayServe`, its default policy (docs.ray.io, advanced autoscaling): the mean in flight over 30 s; more after it asked
for more for 30 s on end, less after 600 s on end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil
from typing import Protocol

from colonnade.fleet.autoscale import Autoscaler, Pace, Sample
from colonnade.wire.routes import Scaling

MOST = 100_000


class Rule(Protocol):
    def decide(self, now: float, in_flight: float, waiting: float, wanted: int, ready: int) -> int:
        """Replicas from now on; `wanted`: until now, those that start included."""
        ...


class Ours:
    """`fleet.autoscale`, the object that a control plane asks."""

    forecast = False

    def __init__(self, target: float) -> None:
        self._scaling = Scaling(min=1, max=MOST, target=target, forecast=self.forecast)
        self._scaler = Autoscaler(Pace())

    def decide(self, now: float, in_flight: float, waiting: float, wanted: int, ready: int) -> int:
        self._scaler.observe(Sample(now, round(in_flight), round(waiting)))
        return self._scaler.decide(self._scaling, now, wanted, ready).replicas


class Forecasting(Ours):
    forecast = True


class _Window:
    """The mean of what was seen in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    def mean(self, now: float, value: float) -> float:
        self._seen.append((now, value))
        self._sum += value
        while self._seen[0][0] <= now - self._seconds:
            self._sum -= self._seen.popleft()[1]
        return self._sum / len(self._seen)


class Knative:
    def __init__(self, target: float) -> None:
        self._target = target
        self._stable, self._panic = _Window(60.0), _Window(6.0)
        self._panic_until = float("-inf")
        self._most = 0

    def decide(self, now: float, in_flight: float, waiting: float, wanted: int, ready: int) -> int:
        ready = max(ready, 1)
        stable = self._bounded(self._stable.mean(now, in_flight), ready)
        panic = self._bounded(self._panic.mean(now, in_flight), ready)
        if panic / ready >= 2:
            if now >= self._panic_until:
                self._most = 0
            self._panic_until = now + 60.0
        if now >= self._panic_until:
            return max(stable, 1)
        self._most = max(self._most, panic, wanted)
        return self._most

    def _bounded(self, in_flight: float, ready: int) -> int:
        return min(max(ceil(in_flight / self._target), ready // 2), 1000 * ready)


class RayServe:
    def __init__(self, target: float) -> None:
        self._target = target
        self._window = _Window(30.0)
        self._above: float | None = None
        self._below: float | None = None

    def decide(self, now: float, in_flight: float, waiting: float, wanted: int, ready: int) -> int:
        desired = max(1, ceil(self._window.mean(now, in_flight) / self._target))
        self._above = None if desired <= wanted else now if self._above is None else self._above
        self._below = None if desired >= wanted else now if self._below is None else self._below
        if (self._above is not None and now - self._above >= 30.0) or (
            self._below is not None and now - self._below >= 600.0
        ):
            self._above = self._below = None
            return desired
        return wanted


RULES: dict[str, Callable[[float], Rule]] = {
    "colonnade": Ours,
    "forecast": Forecasting,
    "knative": Knative,
    "ray_serve": RayServe,
}
"""By the requests in flight that a replica should have."""
