"""A change of a deployment as it is asked for, and whether it can be. Pure."""

from __future__ import annotations

import re

import msgspec

from colonnade.fleet.budgets import check_budget
from colonnade.fleet.launch import settings_argv
from colonnade.wire.errors import Conflict, InvalidRequest
from colonnade.wire.routes import Budget, Deployment, Placement, Resources, Rollout, Scaling

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
MOST_REPLICAS = 10_000


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deployment shall be. `generation`: the one that the change was thought up against; absent: any."""

    model: str
    replicas: int | None = None
    """None: as many as there are; 1 for a new deployment. With `scaling` it is where demand starts from."""
    settings: dict[str, str] = {}
    generation: int | None = None
    scaling: Scaling | None = None
    rollout: Rollout | None = None
    resources: Resources | None = None
    placement: Placement | None = None
    budget: Budget | None = None


def check_generation(now: Deployment, against: int | None) -> None:
    if against is not None and against != now.generation:
        raise Conflict(
            f"{now.name} is at generation {now.generation}, the change was made against {against}",
            hint="read the deployment again, or leave `generation` out to overwrite it",
            code="generation_conflict",
        )


def check(name: str, change: Change) -> None:
    check_name(name, "name")
    if not change.model:
        raise InvalidRequest("a deployment needs a model", hint="a folder, or the name of a model", param="model")
    if change.replicas is not None and not 0 <= change.replicas <= MOST_REPLICAS:
        raise InvalidRequest(f"{change.replicas} replicas", hint=f"from 0 to {MOST_REPLICAS}", param="replicas")
    if change.scaling is not None:
        _check_scaling(change.scaling)
    if change.rollout is not None:
        _check_rollout(change.rollout)
    if change.resources is not None and not change.resources.count > 0:
        raise InvalidRequest(f"{change.resources.count:g} units of a resource", hint="above 0", param="resources")
    if change.resources is not None and change.resources.memory < 0:
        raise InvalidRequest(f"{change.resources.memory} bytes of memory", hint="0 or more", param="resources")
    if change.budget is not None:
        check_budget(change.budget, "deployment")
    settings_argv(change.settings, change.model)


def _check_scaling(scaling: Scaling) -> None:
    if not 0 <= scaling.min <= scaling.max <= MOST_REPLICAS or scaling.max < 1:
        said = f"from {scaling.min} to {scaling.max} replicas"
        raise InvalidRequest(said, hint=f"0 <= min <= max <= {MOST_REPLICAS}, and max at least 1", param="scaling")
    if not scaling.target > 0:
        raise InvalidRequest(f"a target of {scaling.target:g}", hint="requests a replica, above 0", param="scaling")
    if not scaling.idle >= 0:
        raise InvalidRequest(f"idle for {scaling.idle:g} s", hint="seconds, 0 or more", param="scaling")


def _check_rollout(rollout: Rollout) -> None:
    steps = rollout.steps
    if not all(0 < each < 1 for each in steps) or list(steps) != sorted(set(steps)):
        said = "steps of " + (", ".join(f"{each:g}" for each in steps))
        raise InvalidRequest(said, hint="shares above 0 and below 1, rising; then all", param="rollout")
    if not (rollout.step >= 0 and rollout.requests >= 0 and rollout.errors >= 0 and rollout.latency >= 1):
        hint = "step, requests and errors at least 0, latency at least 1"
        raise InvalidRequest("a rollout that cannot be judged", hint=hint, param="rollout")


def check_name(name: str, param: str) -> None:
    if NAME.fullmatch(name) is None:
        hint = "up to 63 letters, digits, dots, dashes and underscores, a letter or digit first and last"
        raise InvalidRequest(f"{name!r} is not a name", hint=hint, param=param)
