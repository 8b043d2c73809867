"""Which of the replicas that can take a request gets it. A policy is one pure rule, each in a module of its own."""

from __future__ import annotations

from colonnade.gateway.policies.cost import Cost
from colonnade.gateway.policies.least_load import LeastLoad
from colonnade.gateway.policies.policy import Policy
from colonnade.gateway.policies.round_robin import RoundRobin
from colonnade.gateway.policies.session import Session

__all__ = ["POLICIES", "Policy"]

POLICIES: dict[str, type[Policy]] = {
    "cost": Cost,
    "least_load": LeastLoad,
    "round_robin": RoundRobin,
    "session": Session,
}
"""By the value of `gateway.policy`."""
