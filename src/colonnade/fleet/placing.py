"""Placement over time: who is lost, what was placed before, what waits for a hand-over, and what is told of it. Pure.

book = PlacementBook(shares as they were stored, now)
book.heard(cluster, now)                  a word of its agent
book.place(deployments, observed, now)    shares now; `tales` has what changed, with the reasons
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from colonnade.fleet.placement import Plan, Shares, Site, allowed, hand_over, place
from colonnade.wire.routes import ClusterSpec, Deployment, Observed


@dataclass(frozen=True)
class Tale:
    """For the event log."""

    kind: str
    deployment: str
    cluster: str
    reason: str


class PlacementBook:
    """`shares`: as they were when the control plane ended. `lost_s`: without a word of its agent, a cluster has no room
    after so long."""

    def __init__(self, shares: Shares, now: float, lost_s: float) -> None:
        self._lost_s = lost_s
        self.shares = shares
        self.tales: list[Tale] = []
        self._began = now
        self._heard: dict[str, float] = {}
        self._missing: dict[str, str] = {}

    def heard(self, cluster: str, now: float) -> None:
        self._heard[cluster] = now

    def forget(self, cluster: str) -> None:
        self._heard.pop(cluster, None)

    def lost(self, cluster: str, now: float) -> str:
        """Why it has no room; empty while it counts. After a start of the control plane each gets its time to call."""
        silent = now - self._heard.get(cluster, self._began)
        return f"not heard for {self._lost_s:g} s" if silent >= self._lost_s else ""

    def place(self, deployments: Iterable[Deployment], observed: Mapping[str, Observed], now: float) -> Shares:
        known = list(deployments)
        sites = [Site(spec_of(each), self.lost(name, now)) for name, each in observed.items()]
        plan = place(known, sites)
        ready = self._ready(observed, now)
        shares: Shares = {}
        for each in known:
            here = {site.spec.name for site in sites if allowed(each, site.spec) and not site.lost}
            before = self.shares.get(each.name, {})
            wanted = {name: number for name, number in plan.shares[each.name].items() if name in here}
            moved = hand_over(wanted, before, ready.get(each.name, Counter()))
            shares[each.name] = {**plan.shares[each.name], **moved}
            self._tell(each.name, before, shares[each.name], plan)
        self.shares = shares
        return shares

    def _ready(self, observed: Mapping[str, Observed], now: float) -> dict[str, Counter[str]]:
        """Replicas that serve, by deployment and cluster; of a cluster that was not heard since we began, none."""
        found: dict[str, Counter[str]] = {}
        for cluster, report in observed.items():
            if cluster in self._heard and not self.lost(cluster, now):
                for status in report.replicas:
                    if status.state == "ready":
                        found.setdefault(status.deployment, Counter())[cluster] += 1
        return found

    def _tell(self, name: str, before: Mapping[str, int], after: Mapping[str, int], plan: Plan) -> None:
        for cluster, number in sorted(after.items()):
            if number != before.get(cluster, 0):
                moving = number > plan.shares[name][cluster]
                reason = "until those that follow are ready elsewhere" if moving else plan.reasons[name, cluster]
                said = f"{before.get(cluster, 0)} -> {number} on {cluster}: {reason}"
                self.tales.append(Tale("placed", name, cluster, said))
        left, why = plan.missing.get(name, (0, ""))
        said = f"{left} without a place: {why}" if left else ""
        if said and self._missing.get(name) != said:
            self.tales.append(Tale("unplaced", name, "", said))
        self._missing[name] = said


def spec_of(observed: Observed) -> ClusterSpec:
    """Of a cluster that says nothing of itself, its name."""
    return observed.spec or ClusterSpec(observed.cluster)
