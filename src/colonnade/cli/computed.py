"""How a replica computes its model, as the replica itself says."""

from __future__ import annotations

from colonnade.cli.api import Api
from colonnade.wire.errors import ColonnadeError
from colonnade.wire.routes import ReplicaStatus

NAMES = ("kernels", "quantisation", "weight_dtype", "kv_dtype", "fingerprint")
TIMEOUT_S = 2.0


def computed(status: ReplicaStatus) -> dict[str, str | int | float | bool]:
    """Facts of a replica that is ready; none of one that is not, that serves no model, or that does not answer."""
    if status.state != "ready" or not status.url:
        return {}
    try:
        [card] = Api(status.url, timeout=TIMEOUT_S).call("GET", "/v1/models")["data"]
    except (ColonnadeError, KeyError, TypeError, ValueError):
        return {}
    return {name: card[name] for name in NAMES if name in card}
