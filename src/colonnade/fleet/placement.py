"""Which cluster runs how many replicas of what. Pure. The first version spreads evenly; prices, residency and latency
come in here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from colonnade.fleet.versions import numbers
from colonnade.wire.routes import Deployment


def shares(replicas: int, clusters: Iterable[str]) -> dict[str, int]:
    """As even as can be; what is left over goes to the first names."""
    names = sorted(clusters)
    if not names:
        return {}
    each, over = divmod(replicas, len(names))
    return {name: each + (number < over) for number, name in enumerate(names)}


def desired_of(cluster: str, clusters: Iterable[str], deployments: Iterable[Deployment]) -> tuple[Deployment, ...]:
    """The cluster's part of every deployment; one of which it has no part is there with no replicas."""
    names = {*clusters, cluster}
    return tuple(_part(each, cluster, names) for each in deployments)


def _part(deployment: Deployment, cluster: str, names: set[str]) -> Deployment:
    """Both versions are spread, where one comes in."""
    of = numbers(deployment)
    fresh, kept = shares(of.fresh, names)[cluster], shares(of.kept, names)[cluster]
    return replace(deployment, replicas=fresh + kept, kept=kept)
