"""Who may do what at the control plane. Pure.

admin      everything
deployer   deployments, and what they lead to; no keys, no tokens, no clusters
agent      the reports of one cluster, and nothing else: whoever steals it can speak for that cluster alone
gateway    routes in, demand out
enrol      once: to become the agent of one cluster

Who calls models has an API key, and has nothing to ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["admin", "deployer", "agent", "gateway", "enrol"]
ROLES: tuple[Role, ...] = ("admin", "deployer", "agent", "gateway", "enrol")
OF_A_CLUSTER: tuple[Role, ...] = ("agent", "enrol")

_LOOKS = ("/v1/replicas", "/v1/events", "/v1/cost", "/v1/clusters")
_REPORTS = ("/v1/clusters/{name}/sync", "/v1/clusters/{name}/beat")


@dataclass(frozen=True)
class Holder:
    """Of a token. `cluster`: the only one that it is for."""

    name: str
    role: Role
    cluster: str = ""


def may(holder: Holder, method: str, path: str, name: str) -> bool:
    """`path`: as it is declared, with {name}; `name`: what stands there."""
    match holder.role:
        case "admin":
            return path != "/v1/enrol"
        case "deployer":
            return path.startswith("/v1/deployments") or (method == "GET" and path in _LOOKS)
        case "agent":
            return path in _REPORTS and name == holder.cluster
        case "gateway":
            return path in ("/v1/routes", "/v1/demand")
        case "enrol":
            return path == "/v1/enrol"
