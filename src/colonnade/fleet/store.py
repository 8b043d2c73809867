"""What the control plane must not forget, behind one small protocol. `fleet.sqlite` keeps it in a file.

Every change carries the line of the event log that tells of it, and both are written or neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from colonnade.fleet.ledger import Used
from colonnade.fleet.tokens import TokenStore
from colonnade.wire.routes import Allowance, Deployment, Happening, KeyRecord, Observed, TokenSum, Version


class Logged(msgspec.Struct, frozen=True):
    """A line of the event log. `id` grows."""

    id: int
    event: Happening


class Only(msgspec.Struct, frozen=True):
    """Which lines of the event log are wanted; what is empty lets all pass. `since`: Unix seconds."""

    deployment: str = ""
    cluster: str = ""
    kind: str = ""
    since: float = 0.0


EVERY = Only()


class Store(TokenStore, Protocol):
    """One writer. Every method returns when what it did is on disk."""

    async def close(self) -> None: ...

    async def begin(self) -> int:
        """Count this start of the control plane: 1, 2, 3, …"""
        ...

    async def setting(self, name: str, default: str) -> str:
        """The value kept under this name; at first `default`, which is kept."""
        ...

    async def keep_setting(self, name: str, value: str) -> None: ...

    async def deployments(self) -> tuple[Deployment, ...]: ...

    async def put_deployment(self, deployment: Deployment, event: Happening) -> None: ...

    async def remove_deployment(self, name: str, event: Happening) -> None: ...

    async def versions(self, deployment: str) -> tuple[tuple[str, Version], ...]:
        """Those that the deployment has had since it was made, by name; the first first."""
        ...

    async def keys(self) -> tuple[KeyRecord, ...]:
        """Those that are not revoked."""
        ...

    async def add_key(self, key: KeyRecord, event: Happening) -> None: ...

    async def limit_key(self, name: str, allowance: Allowance, event: Happening) -> None: ...

    async def revoke_key(self, name: str, event: Happening) -> None:
        """The record stays, with the time; its name may be used again."""
        ...

    async def observed(self) -> tuple[Observed, ...]:
        """The last report of each cluster."""
        ...

    async def keep_observed(self, observed: Observed) -> None:
        """Replaces the cluster's last report; appends what is new of its events to the log, of its usage and prices
        to the ledger."""
        ...

    async def keep_placement(self, placement: str, events: tuple[Happening, ...]) -> None:
        """Which cluster has how many of what, as JSON, and what was told of it."""
        ...

    async def keep_tokens(self, gateway: str, sums: tuple[TokenSum, ...]) -> None:
        """Of one life of a gateway; a sum that is less than what is known changes nothing."""
        ...

    async def used(self, by: Sequence[str], since: float) -> list[Used]:
        """`ledger.used`."""
        ...

    async def forget_cluster(self, name: str, event: Happening) -> None: ...

    async def tell(self, event: Happening) -> None:
        """A line of the log that goes with no change."""
        ...

    async def forget_before(self, time: float, most_events: int) -> None:
        """What was logged and used before this time (Unix seconds), and events beyond so many of the newest."""
        ...

    async def events(self, after: int, limit: int, only: Only = EVERY) -> tuple[Logged, ...]:
        """Oldest first, those with an id above `after`; of more than `limit`, the newest when `after` is 0."""
        ...
