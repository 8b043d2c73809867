"""Which cluster runs how many replicas of what. Pure; greedy, behind the interface that an optimiser can take.

A deployment may go to the clusters of its zones, and nowhere else, whatever fails: that is a hard limit. Of these, room
that is one's own comes first: all of a cluster that the customer brought, what is committed of a managed one, and a
cluster of which nothing is said. What does not fit there *overflows* to the rest of managed clusters, where the
deployment allows it. Within each, replicas are spread evenly; deployments with less choice go first. A cluster whose
agent is not heard has no room; it gets its part again when it is back.

    plan = place(deployments, clusters)        shares, and why each is what it is
    hand_over(shares, before, ready, …)        what leaves a cluster waits until it is ready elsewhere
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import floor, inf

from msgspec.structs import replace

from colonnade.fleet.versions import numbers
from colonnade.wire.routes import ClusterSpec, Deployment, Offer, Placement, Resources

Shares = dict[str, dict[str, int]]
"""Replicas by deployment, by cluster."""


@dataclass(frozen=True)
class Site:
    """A cluster as placement sees it. `lost`: why it has no room at all, if it has none."""

    spec: ClusterSpec
    lost: str = ""


@dataclass
class Plan:
    shares: Shares = field(default_factory=Shares)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """By deployment and cluster."""
    missing: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """By deployment: replicas that have no place, and why."""


def allowed(deployment: Deployment, spec: ClusterSpec) -> bool:
    """Whether it may run there, ever."""
    zones = (deployment.placement or Placement()).zones
    return not zones or spec.zone in zones


def place(deployments: Iterable[Deployment], sites: Iterable[Site]) -> Plan:
    plan = Plan()
    room = _Room(sorted(sites, key=lambda site: site.spec.name))
    for deployment in sorted(deployments, key=lambda each: _freedom(each, room.sites)):
        _place_one(deployment, room, plan)
    return plan


def _freedom(deployment: Deployment, sites: list[Site]) -> tuple[bool, int, str]:
    """Those go first that have the least choice."""
    overflow = deployment.placement is not None and deployment.placement.overflow
    return overflow, sum(allowed(deployment, site.spec) for site in sites), deployment.name


def _place_one(deployment: Deployment, room: _Room, plan: Plan) -> None:
    name, policy = deployment.name, deployment.placement or Placement()
    takes = deployment.resources or Resources()
    of = numbers(deployment)
    wanted = of.fresh + of.kept
    sites = [site for site in room.sites if allowed(deployment, site.spec)]
    own = room.spread(wanted, sites, takes, own=True)
    over = room.spread(wanted - sum(own.values()), sites, takes, own=False) if policy.overflow else {}
    plan.shares[name] = {site.spec.name: 0 for site in room.sites}
    for cluster, number in [*own.items(), *over.items()]:
        plan.shares[name][cluster] += number
    for site in room.sites:
        plan.reasons[name, site.spec.name] = _why(deployment, site, own, over, wanted)
    left = wanted - sum(plan.shares[name].values())
    if left:
        plan.missing[name] = left, _why_not(deployment, sites, policy)


class _Room:
    """What is left, by cluster and type of resource."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        self._taken: dict[tuple[str, str, bool], float] = {}

    def spread(self, number: int, sites: list[Site], takes: Resources, *, own: bool) -> dict[str, int]:
        """One replica after the other to the cluster that has the fewest of these, as long as there is room."""
        left = {site.spec.name: self._fits(site, takes, own) for site in sites}
        given = dict.fromkeys(left, 0)
        for _ in range(number):
            able = [name for name in left if given[name] < left[name]]
            if not able:
                break
            given[min(able, key=lambda name: given[name])] += 1
        for name, each in given.items():
            key = (name, takes.type, own)
            self._taken[key] = self._taken.get(key, 0.0) + each * takes.count
        return {name: each for name, each in given.items() if each}

    def _fits(self, site: Site, takes: Resources, own: bool) -> float:
        if site.lost:
            return 0
        units = _units(site.spec, takes.type, own) - self._taken.get((site.spec.name, takes.type, own), 0.0)
        return inf if units == inf else floor(units / takes.count + 1e-9)


def _units(spec: ClusterSpec, resource: str, own: bool) -> float:
    """What the cluster has of it: its owner's own, or beyond."""
    if not spec.resources:
        return inf if own else 0.0
    offer = spec.resources.get(resource, Offer(0.0))
    mine = offer.capacity if spec.owner == "byo" or offer.committed is None else offer.committed
    return mine if own else offer.capacity - mine


def _why(deployment: Deployment, site: Site, own: Mapping[str, int], over: Mapping[str, int], wanted: int) -> str:
    name = site.spec.name
    if not allowed(deployment, site.spec):
        return f"its zone {site.spec.zone or '(none)'} is not allowed"
    if site.lost:
        return site.lost
    if name in over:
        return f"overflow: own and committed room is for {sum(own.values())} of {wanted}"
    if name in own:
        return f"own or committed room, {len(own)} of the clusters share {wanted}"
    return "others have room of their own" if sum(own.values()) == wanted else "no room"


def _why_not(deployment: Deployment, sites: list[Site], policy: Placement) -> str:
    """Where each of the clusters that it may go to stands in its way."""
    if not sites:
        return f"no cluster in {', '.join(policy.zones)}"
    takes = deployment.resources or Resources()
    each = [f"{site.spec.name}: {site.lost or 'no more room'}" for site in sites]
    said = "; ".join(each)
    beyond = any(not site.lost and _units(site.spec, takes.type, own=False) > 0 for site in sites)
    return f"{said}; placement.overflow is off" if beyond and not policy.overflow else said


def hand_over(wanted: Mapping[str, int], before: Mapping[str, int], ready: Mapping[str, int]) -> dict[str, int]:
    """Of one deployment, by cluster: replicas leave a cluster only as those that follow them are ready elsewhere.

    `ready`: as told lately; what is not known to be ready is not. A cluster where it may not be is not in here.
    """
    waits = sum(max(0, number - ready.get(cluster, 0)) for cluster, number in wanted.items())
    shares = dict(wanted)
    for cluster, number in sorted(wanted.items()):
        stays = min(max(0, before.get(cluster, 0) - number), waits)
        shares[cluster] += stays
        waits -= stays
    return shares


def part_of(deployment: Deployment, share: int, cluster: str, shares: Mapping[str, int]) -> Deployment:
    """What the cluster is told. Where a version comes in, each has its part of those that stay at the one before."""
    of, whole = numbers(deployment), sum(shares.values())
    if not of.kept or not whole:
        return replace(deployment, replicas=share, kept=0)
    before = sum(number for name, number in shares.items() if name < cluster)
    fraction = of.kept / (of.kept + of.fresh)
    kept = round((before + share) * fraction) - round(before * fraction)
    return replace(deployment, replicas=share, kept=min(kept, share))
