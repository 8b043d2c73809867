"""A package that takes more memory than it said it needs is ended before its neighbours suffer. Linux: /proc."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from pathlib import Path

LOOK_S = 0.25
_STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()


async def watch_memory(limit: int, shown: str, fail: Callable[[str], None]) -> None:
    """Until it is over `limit` bytes. `shown`: the limit as config.yaml has it."""
    while True:
        taken = resident()
        if taken > limit:
            fail(f"the package takes {taken / 2**30:.2f} GiB of memory, more than resources.memory ({shown})")
            return
        await asyncio.sleep(LOOK_S)
