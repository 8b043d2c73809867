"""What the control plane tells gateways, from what it knows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from colonnade.fleet.placement import allowed
from colonnade.fleet.placing import spec_of
from colonnade.fleet.versions import share_of, version_of
from colonnade.wire.routes import Deployment, KeyRecord, Limit, Observed, ReplicaStatus, Route, Routes, Share

HOME_CLUSTER = "local"
"""The cluster whose replicas are named without their cluster."""


def global_id(cluster: str, id: str) -> str:
    """A replica's name over all clusters: an agent numbers its own only. `@` stands in no deployment's name."""
    return id if cluster == HOME_CLUSTER else f"{id}@{cluster}"


def routes_of(
    observed: Mapping[str, Observed],
    deployments: Iterable[Deployment],
    keys: Iterable[KeyRecord],
    pepper: str,
    auth: bool,
    limits: Iterable[Limit] = (),
) -> Routes:
    """At revision 0. A replica counts when it is ready and its deployment is still wanted; of two ready lives of one
    replica the later one."""
    wanted = sorted(deployments, key=lambda each: each.name)
    names = {each.name: each for each in wanted}
    found: dict[str, Route] = {}
    for cluster, report in sorted(observed.items()):
        for status in report.replicas:
            route = _route(cluster, status)
            if status.state == "ready" and status.deployment in names and _may_serve(names[status.deployment], report):
                found[route.replica] = max(found.get(route.replica, route), route, key=lambda each: each.epoch)
    return Routes(
        revision=0,
        routes=tuple(found.values()),
        keys=tuple(sorted(keys, key=lambda key: key.name)),
        pepper=pepper,
        auth=auth,
        models=tuple(each.name for each in wanted),
        resting=tuple(each.name for each in wanted if each.scaling is not None and not each.replicas),
        shares=tuple(share for each in wanted for share in shares_of(each)),
        limits=tuple(replace(each, told="") for each in limits),
    )


def _may_serve(deployment: Deployment, report: Observed) -> bool:
    """A replica outside of its zones, for these were narrowed, gets no request while it leaves."""
    return allowed(deployment, spec_of(report))


def shares_of(deployment: Deployment) -> Iterable[Share]:
    """Where two versions serve, or one was taken back and may still be there: what each gets."""
    name, version, share = deployment.name, version_of(deployment), share_of(deployment)
    if deployment.before is not None and share < 1:
        return (Share(name, version, share), Share(name, version_of(deployment.before), 1 - share))
    return (Share(name, version, 1.0),) if deployment.refused else ()


def _route(cluster: str, status: ReplicaStatus) -> Route:
    return Route(
        replica=global_id(cluster, status.id),
        epoch=status.epoch,
        url=status.url,
        model=status.deployment,
        events=status.events,
        version=status.version,
    )
