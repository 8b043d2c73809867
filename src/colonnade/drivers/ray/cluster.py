"""Every call of Ray's API from the side of the driver. They block: the driver makes them in threads.

A process speaks to one Ray cluster at a time (Ray keeps the connection in a global), so there is one `Cluster`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from colonnade.drivers.base import ReplicaSpec
from colonnade.drivers.ray.host import Host, HostOptions
from colonnade.drivers.ray.nodes import Key, Node, needs
from colonnade.wire.errors import SetupError

_HOST_ENV = {
    "RAY_kill_child_processes_on_worker_exit": "0",  # replicas outlive their host
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the host sees the node's GPUs, and grants them
}


class Cluster:
    """`name`: ours, for Ray has clusters of its own; hosts and reservations of others are never touched."""

    def __init__(self, name: str) -> None:
        self._namespace = f"colonnade-{name}"
        self._prefix = f"{self._namespace}/"
        self._reserved: dict[Key, Any] = {}

    def connect(self, address: str) -> None:
        """Raises SetupError. In a thread: on the main one Ray takes the signals for itself."""
        try:
            import ray
        except ImportError as error:
            raise SetupError("Ray is not installed", hint="pip install 'colonnade[ray]'") from error
        try:
            ray.init(address=address, namespace=self._namespace, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, RuntimeError, ValueError) as error:
            hint = "the agent runs on a machine of the Ray cluster; RAY_AUTH_TOKEN or ~/.ray/auth_token has its token"
            raise SetupError(f"the Ray cluster at {address} cannot be joined: {error}", hint=hint) from error

    def disconnect(self) -> None:
        import ray

        ray.shutdown()
        self._reserved.clear()

    def nodes(self) -> dict[str, Node]:
        """Those that live, by id."""
        import ray

        with _asking():
            alive = [each for each in ray.nodes() if each["Alive"]]
        return {each["NodeID"]: _node(each) for each in alive}

    def host(self, node: Node, options: HostOptions) -> Any:
        """The handle of the node's host, which is begun if there is none."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor: Any = ray.remote(Host)
        begun = actor.options(
            name=f"host-{node.id}",
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,  # every verb may be repeated
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            runtime_env={"env_vars": _HOST_ENV},
        )
        with _asking():
            return begun.remote(options)

    def reserve(self, spec: ReplicaSpec, target: str) -> None:
        """Ask Ray for what a life takes, on the node `target` if there is room. It stays asked for, and so Ray's
        autoscaler sees it, until `release`."""
        from ray.util import placement_group

        with _asking():
            self._reserved[spec.id, spec.epoch] = placement_group(
                [needs(spec)],
                strategy="STRICT_PACK",  # the one that takes a target
                name=f"{self._prefix}{spec.id}.{spec.epoch}",
                lifetime="detached",
                _soft_target_node_id=target or None,
            )

    def places(self) -> dict[Key, str]:
        """The nodes that our reservations have got; empty while they wait."""
        from ray.util import placement_group_table

        with _asking():
            table = placement_group_table().values()
        ours = [each for each in table if each["name"].startswith(self._prefix) and each["state"] != "REMOVED"]
        return {_key(each["name"].removeprefix(self._prefix)): _place(each) for each in ours}

    def release(self, key: Key) -> None:
        from ray.util import get_placement_group, remove_placement_group

        with _asking(), suppress(ValueError):  # there is none
            reserved = self._reserved.pop(key, None) or get_placement_group(f"{self._prefix}{key[0]}.{key[1]}")
            remove_placement_group(reserved)


@contextmanager
def _asking() -> Iterator[None]:
    """Raises SetupError for what Ray raises when its head is gone, or going."""
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, RuntimeError, ConnectionError) as error:
        raise SetupError(f"Ray does not answer: {error}", hint="`ray status` asks it by hand") from error


def _place(reservation: dict[str, Any]) -> str:
    return reservation["bundles_to_node_id"].get(0) or "" if reservation["state"] == "CREATED" else ""


def _node(said: dict[str, Any]) -> Node:
    return Node(said["NodeID"], said["NodeName"], said["NodeManagerAddress"], dict(said["Resources"]))


def _key(name: str) -> Key:
    """An epoch has no dot."""
    id, _, epoch = name.rpartition(".")
    return id, epoch
