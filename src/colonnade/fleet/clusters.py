"""What is known of a cluster, and what its file says of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from colonnade.fleet.change import NAME
from colonnade.wire.errors import SetupError
from colonnade.wire.routes import ClusterSpec, Observed


@dataclass(frozen=True)
class Cluster:
    """`seen`: Unix seconds of the last word from its agent; None: not since this control plane started."""

    name: str
    agent: str
    seen: float | None
    replicas: int
    lost: str = ""
    """Why it has no room now, if it has none."""
    spec: ClusterSpec | None = None


def price_version(spec: ClusterSpec) -> str:
    """Ten hexadecimal digits; other prices have other ones."""
    prices = ";".join(f"{resource}={offer.price!r}" for resource, offer in sorted(spec.resources.items()))
    return hashlib.sha256(prices.encode()).hexdigest()[:10]


def read_cluster(file: Path) -> ClusterSpec:
    """Raises SetupError."""
    try:
        said: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        spec = msgspec.convert(said, ClusterSpec, strict=False)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        hint = "name, region, zone, cloud, owner and resources: docs/fleet.md has an example"
        raise SetupError(f"{file} does not say what a cluster is: {error}", hint=hint) from error
    if NAME.fullmatch(spec.name) is None:
        raise SetupError(f"{file}: {spec.name!r} is not a name", hint="up to 63 letters, digits, dots and dashes")
    if spec.address and spec.driver != "ray":
        raise SetupError(f"{file}: an address is for `driver: ray`", hint="docs/ray.md has an example")
    for resource, offer in spec.resources.items():
        if not (0 <= (offer.committed or 0) <= offer.capacity and offer.price >= 0):
            hint = "0 <= committed <= capacity, and a price of 0 or more"
            raise SetupError(f"{file}: {resource} cannot be as it is said to be", hint=hint)
    return spec


def alike(one: Observed, other: Observed) -> bool:
    """But for what changes with each report."""
    return (one.agent, one.replicas, one.spec) == (other.agent, other.replicas, other.spec)
