"""Start and stop replicas: five idempotent verbs and a watch, no policy."""

from colonnade.drivers.base import (
    ADDRESS,
    Announced,
    Capabilities,
    Driver,
    DriverEvent,
    Exited,
    Life,
    ReplicaSpec,
    Started,
)
from colonnade.drivers.local import LocalDriver, stop_all

__all__ = [
    "ADDRESS",
    "Announced",
    "Capabilities",
    "Driver",
    "DriverEvent",
    "Exited",
    "Life",
    "LocalDriver",
    "ReplicaSpec",
    "Started",
    "stop_all",
]
