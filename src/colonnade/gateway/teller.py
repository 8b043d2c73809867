"""Tells the control plane what there is to do, so that replicas can follow demand. Nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence

import msgspec

from colonnade.gateway.bill import Bill
from colonnade.gateway.fetch import FetchFailed, post
from colonnade.wire.errors import BadSetting
from colonnade.wire.routes import Demand, Demands, Outcome

LOG = logging.getLogger("colonnade.gateway")
BUSY_S, QUIET_S = 0.2, 1.0
"""Between two reports: while requests wait for a replica, and else."""
PATIENCE_S = 2.0


class Teller:
    """`access` gives the control plane's URL and token, anew each time; `demand` what there is to do now; `outcomes`
    how it went so far; `bill`: the tokens that were used."""

    def __init__(
        self,
        access: Callable[[], tuple[str, str]],
        demand: Callable[[], Sequence[Demand]],
        outcomes: Callable[[], Sequence[Outcome]] = tuple,
        bill: Bill | None = None,
    ) -> None:
        self._access = access
        self._demand = demand
        self._outcomes = outcomes
        self._bill = bill or Bill(secrets.token_hex(8))
        self._heard = True

    async def run(self) -> None:
        while True:
            demands = Demands(self._bill.name, tuple(self._demand()), tuple(self._outcomes()), self._bill.sums())
            if await self._tell(demands):
                self._bill.told(demands.tokens, hour())
                await self._tell_of_former()
            await asyncio.sleep(BUSY_S if any(each.held for each in demands.demands) else QUIET_S)

    async def _tell_of_former(self) -> None:
        """Tokens that lives before this one could not tell of any more."""
        for file, name, sums in list(self._bill.former()):
            if not await self._tell(Demands(name, (), (), sums)):
                return
            file.unlink(missing_ok=True)

    async def _tell(self, demands: Demands) -> bool:
        """Whether it was heard. A report that is not is not told again: the next one replaces it."""
        try:
            url, token = self._access()
            status, _ = await post(f"{url}/v1/demand", PATIENCE_S, token, msgspec.json.encode(demands))
            heard, why = status == 200, f"status {status}"
        except (FetchFailed, BadSetting, OSError, msgspec.DecodeError) as error:
            heard, why = False, str(error)
        if self._heard and not heard:
            LOG.warning("the control plane does not hear what there is to do: %s", why)
        self._heard = heard
        return heard


def hour() -> int:
    """Of those since 1970."""
    return int(time.time() // 3600)
