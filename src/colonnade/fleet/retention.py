"""How long the event log and the ledger are kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from colonnade.fleet.store import Store
from colonnade.wire.errors import BadSetting

DAY_S = 86_400.0
LEAST_S = 62 * DAY_S
"""A month is over and billed before anything of it goes: the longest two together."""
MOST_EVENTS = 1_000_000
LOOK_S = 3600.0


def check_keep(keep: float) -> float:
    """Seconds. Raises BadSetting for less than two months: what is not billed yet would be lost."""
    if keep < LEAST_S:
        hint = "a month's use must outlast the month that it is billed in"
        raise BadSetting(f"fleet.keep is {keep / DAY_S:g} days, the least is {LEAST_S / DAY_S:g}", hint=hint)
    return keep


async def forget(store: Store, keep: float, clock: Callable[[], float] = time.time) -> None:
    """What is older than `keep` seconds, now and each hour. Until cancelled."""
    while True:
        await store.forget_before(clock() - keep, MOST_EVENTS)
        await asyncio.sleep(LOOK_S)
