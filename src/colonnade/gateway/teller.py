"""Tells the control plane what there is to do, so that replicas can follow demand. Nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

import msgspec

from colonnade.gateway.fetch import FetchFailed, post
from colonnade.wire.errors import BadSetting
from colonnade.wire.routes import Demand, Demands, Outcome

LOG = logging.getLogger("colonnade.gateway")
BUSY_S, QUIET_S = 0.2, 1.0
"""Between two reports: while requests wait for a replica, and else."""
PATIENCE_S = 2.0


class Teller:
    """`access` gives the control plane's URL and token, anew each time; `demand` what there is to do now; `outcomes`
    how it went so far."""

    def __init__(
        self,
        access: Callable[[], tuple[str, str]],
        demand: Callable[[], Sequence[Demand]],
        outcomes: Callable[[], Sequence[Outcome]] = tuple,
    ) -> None:
        self._access = access
        self._demand = demand
        self._outcomes = outcomes
        self._name = secrets.token_hex(8)
        self._heard = True

    async def run(self) -> None:
        while True:
            demands = Demands(self._name, tuple(self._demand()), tuple(self._outcomes()))
            await self._tell(demands)
            await asyncio.sleep(BUSY_S if any(each.held for each in demands.demands) else QUIET_S)

    async def _tell(self, demands: Demands) -> None:
        """A report that is not heard is not told again: the next one replaces it."""
        try:
            url, token = self._access()
            status, _ = await post(f"{url}/v1/demand", PATIENCE_S, token, msgspec.json.encode(demands))
            heard, why = status == 200, f"status {status}"
        except (FetchFailed, BadSetting, OSError, msgspec.DecodeError) as error:
            heard, why = False, str(error)
        if self._heard and not heard:
            LOG.warning("the control plane does not hear what there is to do: %s", why)
        self._heard = heard
