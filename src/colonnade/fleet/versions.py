"""Versions of a deployment: never changed, named by what they are. Pure.

Another model or other settings make another version; the number of replicas does not. The same model and settings have
the same name wherever they are deployed, which is how one is promoted from an environment to the next.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from msgspec.structs import replace

from colonnade.wire.errors import InvalidRequest
from colonnade.wire.routes import Deployment, Version

ENVIRONMENTS = ("development", "staging", "production")
"""In the order of promotion. What is in production has the deployment's own name."""


def template(spec: Deployment | Version) -> str:
    """What makes two lives of a deployment alike: the model and the settings, not their number."""
    settings = ";".join(f"{key}={value}" for key, value in sorted(spec.settings.items()))
    return f"{spec.model};{settings}"


@lru_cache(4096)
def name_of(template: str) -> str:
    """Ten hexadecimal digits."""
    return hashlib.sha256(template.encode()).hexdigest()[:10]


def version_of(spec: Deployment | Version) -> str:
    return name_of(template(spec))


def spec_of(deployment: Deployment) -> Version:
    return Version(deployment.model, deployment.settings)


def at_version(deployment: Deployment, version: Version) -> Deployment:
    return replace(deployment, model=version.model, settings=version.settings)


def environment(name: str, env: str) -> str:
    """The name under which a deployment serves in an environment. Raises InvalidRequest."""
    if env not in ENVIRONMENTS:
        raise InvalidRequest(f"no environment {env!r}", hint="one of " + ", ".join(ENVIRONMENTS), param="environment")
    return name if env == ENVIRONMENTS[-1] else f"{name}.{env}"


def succeed(now: Deployment, wanted: Deployment) -> Deployment:
    """`wanted` as what follows on `now`: a version that comes in by steps where a rollout is asked for, and what it
    goes back to. Not its generation."""
    if version_of(wanted) == version_of(now):
        return replace(wanted, before=now.before, stage=now.stage, refused=now.refused)
    good = now.before if now.stage is not None and now.before is not None else spec_of(now)
    if version_of(wanted) == version_of(good):
        return replace(wanted, before=spec_of(now), stage=None, refused=version_of(now))
    stage = 0 if wanted.rollout is not None and wanted.rollout.steps and now.replicas else None
    return replace(wanted, before=good, stage=stage, refused="")


def went_back(now: Deployment) -> Deployment:
    """The version before again, at once; this one gets no request any more."""
    assert now.before is not None
    return replace(at_version(now, now.before), before=None, stage=None, refused=version_of(now))


@dataclass(frozen=True)
class Numbers:
    """Replicas of the new version, and of the one before it."""

    fresh: int
    kept: int


def numbers(deployment: Deployment) -> Numbers:
    """While a version comes in there is one replica more than wanted, and at least one of each: what leaves is replaced
    first, and the way back stays warm."""
    replicas = deployment.replicas
    share = share_of(deployment)
    if share >= 1 or not replicas:
        return Numbers(replicas, 0)
    fresh = max(1, ceil(share * replicas - 1e-9))
    return Numbers(fresh, max(1, replicas + 1 - fresh))


def share_of(deployment: Deployment) -> float:
    """Of the requests, what the new version gets."""
    stage, rollout = deployment.stage, deployment.rollout
    if stage is None or rollout is None or stage >= len(rollout.steps):
        return 1.0
    return rollout.steps[stage]
