"""What a change of a deployment would do, before it is made. Pure: what is, what is wanted, the clusters; lines out.

It asks the objects that would do it: the version that follows (`versions.succeed`), the places (`placement.place`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from colonnade.fleet.placement import Plan, Site, place
from colonnade.fleet.versions import succeed, version_of
from colonnade.wire.routes import Deployment, Offer, Resources

FIELDS = ("model", "settings", "replicas", "scaling", "rollout", "resources", "placement", "budget")


@dataclass(frozen=True)
class Line:
    what: str
    now: str
    then: str
    why: str = ""


def planned(known: Mapping[str, Deployment], wanted: Deployment, sites: Iterable[Site]) -> list[Line]:
    """Nothing where the change changes nothing. `known`: all deployments, by name."""
    now, where = known.get(wanted.name), list(sites)
    then = wanted if now is None else succeed(now, wanted)
    lines = [*_fields(now, then), *_version(now, then)]
    before, after = place(known.values(), where), place({**known, then.name: then}.values(), where)
    return [*lines, *_places(then.name, where, before, after), *_cost(known, then, where, before, after)]


def _fields(now: Deployment | None, then: Deployment) -> list[Line]:
    found: list[Line] = []
    for name in FIELDS:
        old, new = "" if now is None else _text(getattr(now, name)), _text(getattr(then, name))
        if old != new:
            found.append(Line(name, old, new))
    return found


def _text(value: object) -> str:
    return "" if value in (None, {}) else value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _version(now: Deployment | None, then: Deployment) -> list[Line]:
    if now is None or version_of(now) == version_of(then):
        return [] if now is not None else [Line("version", "", version_of(then), "it is new")]
    steps = then.rollout.steps if then.rollout is not None and then.stage is not None else ()
    shares = ", ".join(f"{each:.0%}" for each in steps)
    why = f"by steps of {shares} of the requests, judged" if steps else "replica by replica, without a judgement"
    return [Line("version", version_of(now), version_of(then), why)]


def _places(name: str, sites: list[Site], before: Plan, after: Plan) -> list[Line]:
    found: list[Line] = []
    for site in sites:
        cluster = site.spec.name
        old, new = before.shares.get(name, {}).get(cluster, 0), after.shares[name][cluster]
        if old != new:
            found.append(Line(f"replicas on {cluster}", str(old), str(new), after.reasons[name, cluster]))
    for each, (number, why) in sorted(after.missing.items()):
        if (number, why) != before.missing.get(each):
            old = before.missing.get(each, (0, ""))[0]
            found.append(Line(f"{each} without a place", str(old), str(number), why))
    return found


def _cost(known: Mapping[str, Deployment], then: Deployment, sites: list[Site], old: Plan, new: Plan) -> list[Line]:
    """By the clusters' prices; committed capacity is reckoned like any other."""
    before = _hourly(known, sites, old)
    after = _hourly({**known, then.name: then}, sites, new)
    return [] if before == after else [Line("cost an hour, of all", f"{before:.2f}", f"{after:.2f}")]


def _hourly(deployments: Mapping[str, Deployment], sites: list[Site], plan: Plan) -> float:
    total = 0.0
    for name, deployment in deployments.items():
        takes = deployment.resources or Resources()
        for site in sites:
            price = site.spec.resources.get(takes.type, Offer(0.0)).price
            total += plan.shares[name][site.spec.name] * takes.count * price
    return round(total, 6)


def as_asked(now: Deployment | None, name: str, change: Mapping[str, object]) -> Deployment:
    """The deployment that a body of PUT /v1/deployments/NAME asks for, as `ControlPlane.deploy` makes it."""
    asked = msgspec.convert({"name": name, "replicas": 1, **change}, Deployment)
    if "replicas" not in change and now is not None:
        asked = replace(asked, replicas=now.replicas)
    if asked.scaling is not None:
        asked = replace(asked, replicas=min(max(asked.replicas, asked.scaling.min), asked.scaling.max))
    return replace(asked, generation=0 if now is None else now.generation)
