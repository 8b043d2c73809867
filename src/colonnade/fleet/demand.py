"""What all gateways together have to do, and what follows for each deployment that scales. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from colonnade.fleet.autoscale import Autoscaler, Decision, Pace, Sample
from colonnade.wire.routes import Demands, Scaling


@dataclass(frozen=True)
class Counts:
    wanted: int
    ready: int


class DemandBook:
    """The last word of each gateway, for as long as it counts, and an autoscaler a deployment."""

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()
        self._reports: dict[str, tuple[float, Demands]] = {}
        self._scalers: dict[str, Autoscaler] = {}

    def take(self, demands: Demands, now: float) -> None:
        self._reports[demands.gateway] = now, demands

    def decide(
        self, scaled: Mapping[str, Scaling], counts: Mapping[str, Counts], now: float
    ) -> Iterator[tuple[str, Decision]]:
        """For each deployment of `scaled`; what is no longer there is forgotten."""
        self._reports = {name: said for name, said in self._reports.items() if said[0] >= now - self._pace.blind_s}
        self._scalers = {name: self._scalers.get(name) or Autoscaler(self._pace) for name in scaled}
        for name, scaling in scaled.items():
            scaler = self._scalers[name]
            if self._reports:
                scaler.observe(self._sum(name, now))
            yield name, scaler.decide(scaling, now, counts[name].wanted, counts[name].ready)

    def _sum(self, deployment: str, now: float) -> Sample:
        told = [each for _, said in self._reports.values() for each in said.demands if each.deployment == deployment]
        return Sample(now, sum(each.in_flight for each in told), sum(each.held for each in told))
